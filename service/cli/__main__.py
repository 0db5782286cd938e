"""`python -m service.cli` is the `attnloss` command."""

from service.cli import main

main()
