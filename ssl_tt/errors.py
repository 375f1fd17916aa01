"""What a user sees when something cannot go on: one full sentence, no traceback.

The message names the file or field, what was given, what was expected and what to do. The command line prints it
and leaves with `exit_code`. Whatever the message quotes, it is one line of bounded length.
"""

_LONGEST = 8000
_END = 1000  # of a message that is longer, where the advice stands


class _OneLine(Exception):
    def __str__(self) -> str:
        line = " ".join(super().__str__().split())
        return line if len(line) <= _LONGEST else f"{line[: _LONGEST - _END]} ... {line[-_END:]}"


class InputError(_OneLine, ValueError):
    """Bad usage or bad input: the user can mend it. Exit code 2."""

    exit_code = 2


class RunError(_OneLine, RuntimeError):
    """The work failed for a reason outside the input, such as a full disk or a loss that is not finite. Exit code 1."""

    exit_code = 1


class StoppedEarly(_OneLine):
    """The run was asked to stop and has written a checkpoint to go on from. Exit code 3."""

    exit_code = 3
