"""Start a process whose peak of memory is its own."""


def alone(*command: str) -> list[str]:
    """Return the command that starts another below a shell.

    Linux counts what a parent holds as the peak of a child that it starts, so that of a large test run hides any other.
    """
    return ["sh", "-c", '"$0" "$@"; exit $?', *command]
