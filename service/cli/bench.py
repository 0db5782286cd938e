"""`attnloss bench`."""

from service.cli.help import epilog

EPILOG = epilog("attnloss bench")


def bench() -> None:
    """Not there."""
