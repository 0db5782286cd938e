"""`attnloss models`."""

from service.cli.help import epilog

EPILOG = epilog("attnloss models")


def models() -> None:
    """Not there."""
