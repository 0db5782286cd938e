"""`attnloss attention`."""

from service.cli.help import epilog

EPILOG = epilog("attnloss attention")


def attention() -> None:
    """Not there."""
