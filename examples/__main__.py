"""`python -m examples`, told by `python -m examples --help`."""

import sys

from examples.runner import main

if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; what is done is kept, and the same command goes on")
