import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

Pixels = Callable[[Figure], np.ndarray]


@pytest.fixture
def pixels() -> Pixels:
    """Draws a figure to its pixels [height, width, 4]."""

    def draw(figure: Figure) -> np.ndarray:
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba()).copy()  # type: ignore[attr-defined]

    return draw


@pytest.fixture
def written() -> Callable[[Figure, str], bytes]:
    """Writes a figure to the bytes of a file."""

    def write(figure: Figure, format: str) -> bytes:
        file = io.BytesIO()
        figure.savefig(file, format=format, metadata={"Date": None} if format == "svg" else None)
        return file.getvalue()

    return write
