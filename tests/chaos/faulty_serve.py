"""`attnloss serve` with the worker that misbehaves on a mark; settings come from the environment."""

import sys

from service.serve import serve
from service.settings import Settings

if __name__ == "__main__":
    sys.exit(serve(Settings(), worker_module="tests.chaos.faulty_worker"))
