"""Compile the kernels ahead of time, next to their sources.

    python -m attnloss.kernels.build [path of the library]

Needs a C++17 compiler ($CXX, c++, g++ or clang++) and x86-64 Linux, not torch. The result runs on any such
CPU with AVX2, with any torch and any Python.
"""

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attnloss.kernels import sources

FLAGS = ("-std=c++17", "-O3", "-fPIC", "-Wall", "-Wextra", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti")
MATH_FLAGS = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")


class BuildError(Exception):
    """Why there is no library, in one line."""


def compiler() -> list[str] | None:
    """Find the command of a C++ compiler."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def build(library: Path = sources.LIBRARY, extra: Sequence[str] = ()) -> None:
    """Compile each variant, all at once, and link them. Raises BuildError."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise BuildError(f"the kernels are for x86-64 Linux, this is {system} on {machine}")
    command = compiler()
    if command is None:
        raise BuildError("no C++ compiler: set CXX or install c++, g++ or clang++")
    with tempfile.TemporaryDirectory() as folder:
        units = [(sources.FOLDER / "cpu.cpp", Path(folder, "cpu.o"), [f'-DDIGEST="{sources.digest()}"'])]
        for isa, flags in sources.VARIANTS.items():
            units.append((sources.FOLDER / "kernel.cpp", Path(folder, f"{isa}.o"), [*flags, f"-DISA={isa}"]))
        compiles = [
            [*command, *FLAGS, *MATH_FLAGS, *flags, *extra, "-c", str(source), "-o", str(target)]
            for source, target, flags in units
        ]
        _run(compiles)
        linked = Path(folder, library.name)
        objects = [str(target) for _, target, _ in units]
        _run([[*command, "-shared", "-Wl,--as-needed", *objects, "-o", str(linked), "-lm"]])
        partial = library.with_suffix(f".{os.getpid()}.so")
        shutil.copy2(linked, partial)
        partial.replace(library)


def _run(commands: Sequence[Sequence[str]]) -> None:
    """Run commands at the same time; what the first that fails has to say becomes the error."""
    program = commands[0][0]
    try:
        children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    except OSError as error:
        raise BuildError(f"cannot run {program}: {error.strerror}") from error
    outputs = [child.communicate()[1] for child in children]
    for child, output in zip(children, outputs, strict=True):
        if child.returncode:
            lines = [line for line in output.splitlines() if "error" in line] or output.splitlines() or ["no output"]
            raise BuildError(f"{program} exited with {child.returncode}: {lines[0]}")


def main() -> None:
    """Build, or say in one line why not and exit with 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?", type=Path, default=sources.LIBRARY)
    try:
        build(parser.parse_args().library)
    except BuildError as error:
        sys.exit(f"kernels not built: {error}")


if __name__ == "__main__":
    main()
