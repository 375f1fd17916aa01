"""What a user sees when something cannot go on: one full sentence, no traceback.

The message names the file or field, what was given, what was expected and what to do. The command line prints it
and leaves with `exit_code`.
"""


class InputError(ValueError):
    """Bad usage or bad input: the user can mend it. Exit code 2."""

    exit_code = 2


class RunError(RuntimeError):
    """The work failed for a reason outside the input, such as a full disk or a loss that is not finite. Exit code 1."""

    exit_code = 1


class StoppedEarly(Exception):
    """The run was asked to stop and has written a checkpoint to go on from. Exit code 3."""

    exit_code = 3
