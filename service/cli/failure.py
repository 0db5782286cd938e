"""What ends a command early: one line for a person, and an exit status for a script."""

USAGE = 2
GAVE_UP = 3
INTERRUPTED = 130
UNREAD = 141

STATUSES = {
    0: "all done",
    1: "done, but some lines failed; their rows say why",
    USAGE: "wrong usage or input, told in one line",
    GAVE_UP: "the server cannot be reached, or did not answer after several tries",
    INTERRUPTED: "interrupted by Ctrl-C",
    UNREAD: "nobody reads the output any more, as behind `| head`",
}


class OutputUnread(Exception):
    """Whoever read the output has gone."""


class CommandFailed(Exception):
    """The command ends with this line on standard error and this exit status."""

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.status = status
