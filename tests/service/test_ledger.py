import subprocess
import sys
from pathlib import Path

import pytest

from service import ledger as ledger_module
from service.ledger import Ledger

OTHER_PROCESS = """
import sys
from pathlib import Path
from service.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), 2)
ledger.add(jobs=3, size_bytes=1000)
ledger.set_seconds(1, 2.5)
print("written", flush=True)
sys.stdin.read()
"""


def test_every_process_sees_the_sums_over_all(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path / "ledger", 2), Ledger(tmp_path / "ledger", 2)
    first.add(jobs=2, size_bytes=10)
    second.add(jobs=1, size_bytes=5)
    first.set_seconds(0, 1.5)
    second.set_seconds(1, 4.0)
    second.set_seconds(1, 9.0, texts=True)
    for ledger in (first, second):
        assert (ledger.jobs, ledger.bytes) == (3, 15)
        assert (ledger.seconds(0), ledger.seconds(1), ledger.seconds(1, texts=True)) == (1.5, 4.0, 9.0)


def test_a_process_that_closes_takes_its_counts_with_it(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path / "ledger"), Ledger(tmp_path / "ledger")
    second.add(jobs=1, size_bytes=5)
    second.close()
    assert (first.jobs, first.bytes) == (0, 0)


def test_what_a_killed_process_had_admitted_is_swept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", 2)
    command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "ledger")]
    root = Path(ledger_module.__file__).parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"written\n"
        ledger.sweep()
        assert (ledger.jobs, ledger.bytes, ledger.seconds(1)) == (3, 1000, 2.5)
        other.kill()
    assert ledger.jobs == 3
    ledger.sweep()
    assert (ledger.jobs, ledger.bytes, ledger.seconds(1)) == (0, 0, 0.0)


def test_a_row_that_a_killed_process_left_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_ROWS", 1)
    Ledger(tmp_path / "ledger").add(jobs=7)
    monkeypatch.setattr(ledger_module, "_lives", lambda pid: False)
    assert Ledger(tmp_path / "ledger").jobs == 0


def test_a_service_of_too_many_processes_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_ROWS", 1)
    kept = Ledger(tmp_path / "ledger")
    with pytest.raises(OSError, match="1 API processes"):
        Ledger(tmp_path / "ledger")
    assert kept.jobs == 0


def test_a_ledger_without_a_file_is_shared_with_none() -> None:
    first, second = Ledger(), Ledger()
    first.add(jobs=1)
    assert second.jobs == 0
