"""JPEG Lossless, as radiographs in DICOM often are, decoded by GDCM in a process of its own.

GDCM ends the whole process where a file is damaged; here that ends the child. Run as a script, this file is the child.
"""

from __future__ import annotations

import subprocess
import sys

SECONDS = 60


def decode(frame: bytes, *, syntax: str, columns: int, rows: int, allocated: int, stored: int, signed: bool) -> bytes:
    """Decode a frame of one component.

    Parameters
    ----------
    frame : bytes
        What is compressed.
    syntax : str
        The UID of its transfer syntax.
    columns, rows, allocated, stored : int
        Of the picture; bits a pixel.
    signed : bool
        Pixels have a sign.

    Returns
    -------
    bytes
        Pixels, in the order of this machine.

    Raises
    ------
    ValueError
        It is damaged, or took longer than `SECONDS`.
    """
    numbers = [str(int(one)) for one in (columns, rows, allocated, stored, signed)]
    try:
        child = subprocess.run(
            [sys.executable, "-I", __file__, syntax, *numbers], input=frame, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"it takes longer than {SECONDS} s to decode") from None
    if child.returncode or len(child.stdout) != columns * rows * allocated // 8:
        raise ValueError("its compressed stream is cut off or damaged")
    return child.stdout


def _child(syntax: str, *numbers: str) -> None:
    import gdcm

    columns, rows, allocated, stored, signed = map(int, numbers)
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(sys.stdin.buffer.read())
    fragments.AddFragment(fragment)
    element, image = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010)), gdcm.Image()
    element.SetValue(fragments.__ref__())
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, stored, stored - 1, signed))
    # GDCM returns bytes as text.
    sys.stdout.buffer.write(image.GetBuffer().encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    _child(*sys.argv[1:])
