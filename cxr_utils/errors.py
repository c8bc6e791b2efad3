"""The errors that a user meets: one line that names the input, its value and the way out."""

import errno
from collections.abc import Collection


def printable(text: object) -> str:
    r"""Write `text` on one line, with what can't be printed as escapes.

    Names come from archives and folders that others made: a line break in one must not forge a second line of
    a log or table, an escape sequence must not reach a terminal, and a name that is no Unicode must not stop
    the message.

    Parameters
    ----------
    text : object
        Such as a name or an error.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> printable("a\nb.jpeg")
    'a\\nb.jpeg'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def advice(error: OSError) -> str:
    """Say what to do about an error of the system: each kind has its own way out.

    Parameters
    ----------
    error : OSError
        What the system said.

    Returns
    -------
    str
        In words.

    Examples
    --------
    >>> advice(OSError(errno.ENOSPC, "No space left on device"))
    'make room'
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "see to the permissions"
    return "choose a shorter name" if error.errno == errno.ENAMETOOLONG else "see what lies there"


class CxrError(Exception):
    r"""Something outside failed (a download, a disk, a run); the command ends with status 1.

    Examples
    --------
    >>> str(CxrError("two\nlines"))
    'two\\nlines'
    """

    exit_status = 1

    def __str__(self) -> str:
        """Return the message, one line that is fit to be printed."""
        return printable(super().__str__())


class BadInput(CxrError, ValueError):
    """An argument or a file is not what it must be; the command ends with status 2.

    Examples
    --------
    >>> BadInput("seed: -1; expected 0 or more").exit_status
    2
    """

    exit_status = 2


def one_of(what: str, value: object, known: Collection[str]) -> None:
    """Refuse a value that is not among the known.

    Parameters
    ----------
    what : str
        The argument's name.
    value : object
        What was given.
    known : collection of str
        What may be given.

    Raises
    ------
    BadInput
        It is another value.

    Examples
    --------
    >>> one_of("how", "squash", ("squash", "pad"))
    """
    if value not in known:
        raise BadInput(f"{what}: {value!r}; choose one of {', '.join(known)}")
