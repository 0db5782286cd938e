"""Building, and what is said where the kernels cannot be used."""

import subprocess
import sys
from pathlib import Path

import pytest

from attnloss.kernels import build, library, native, sources

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def fresh() -> object:
    forget()
    yield
    forget()


def forget() -> None:
    library.load.cache_clear()
    native.unavailable.cache_clear()


def test_it_is_available_once_built(isa: str) -> None:
    assert native.unavailable() is None
    assert library.load().isa == isa


def test_without_a_compiler_the_command_says_so_and_exits_with_1(tmp_path: Path) -> None:
    for variables, reason in (({"PATH": str(tmp_path)}, "no C++ compiler"), ({"CXX": "/no/such"}, "/no/such")):
        command = [sys.executable, "-m", "attnloss.kernels.build", str(tmp_path / "library.so")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, cwd=ROOT)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_the_compiler_says_is_told(tmp_path: Path, built: Path) -> None:
    with pytest.raises(build.BuildError, match=r"exited with 1: .*no-such-flag"):
        build.build(tmp_path / "library.so", extra=["--no-such-flag"])
    assert list(tmp_path.iterdir()) == []


def test_building_does_not_import_torch() -> None:
    program = "import sys, attnloss.kernels.build; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_a_library_that_is_not_there_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "LIBRARY", tmp_path / "_native.so")
    assert native.unavailable() == "the kernels are not built: python -m attnloss.kernels.build"


def test_a_library_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch, built: Path) -> None:
    monkeypatch.setattr(sources, "LIBRARY", built)
    monkeypatch.setattr(sources, "digest", lambda: "others")
    assert "was built of other sources" in str(native.unavailable())


def test_a_file_that_is_no_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "_native.so").write_text("no library")
    monkeypatch.setattr(sources, "LIBRARY", tmp_path / "_native.so")
    assert "cannot be loaded" in str(native.unavailable())


def test_an_instruction_set_that_the_cpu_lacks_is_refused(monkeypatch: pytest.MonkeyPatch, built: Path) -> None:
    monkeypatch.setattr(sources, "LIBRARY", built)
    monkeypatch.setenv(library.FORCED, "neon")
    assert "ATTNLOSS_KERNEL_ISA is 'neon', this CPU runs" in str(native.unavailable())


def test_a_kernel_that_computes_something_else_is_refused(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = native.attend
    monkeypatch.setattr(native, "attend", lambda *arguments: tuple(2 * result for result in honest(*arguments)))
    assert native.unavailable() == f"the {isa} kernels compute something else than attention"


def test_the_tile_of_keys_is_the_same_on_both_sides() -> None:
    assert f"KEYS = {library.KEYS_PER_TILE};" in (sources.FOLDER / "problem.hpp").read_text()
