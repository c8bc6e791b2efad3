"""The errors that a user meets: one line that names the input, its value and the way out."""


class CxrError(Exception):
    """Something outside failed (a download, a disk, a run); the command ends with status 1."""

    exit_status = 1


class BadInput(CxrError, ValueError):
    """An argument or a file is not what it must be; the command ends with status 2."""

    exit_status = 2
