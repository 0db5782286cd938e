"""`python -m service.cli` is the `attnloss` command."""

from service.cli import main

if __name__ == "__main__":
    main()
