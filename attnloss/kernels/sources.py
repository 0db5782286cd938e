"""Where the sources of the kernels and the library built of them lie, and what ties the two together."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "_native.so"
BUILD_COMMAND = "python -m attnloss.kernels.build"

VARIANTS = {
    "avx2": ("-mavx2", "-mfma"),
    "avx512": ("-mavx2", "-mfma", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"),
}
"""Instruction sets as cpu.cpp numbers them, with the compiler's flags; the last that a CPU runs is used."""


def digest() -> str:
    """Identify the sources: a library built of others may expect other arguments."""
    parts = (path.read_bytes() for path in sorted(FOLDER.glob("*.[ch]pp")))
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]
