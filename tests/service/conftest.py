"""What the tests of the link share; Hypothesis without its clock: on a busy machine a slow example is no failure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import settings

settings.register_profile("service", deadline=None, max_examples=60)
settings.load_profile("service")


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/link"
