import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from service import supervisor as supervisor_module
from service.children import Started
from service.supervisor import Child, Supervisor
from tests.service.supervised import started, until

CHILD = """
import json, os, pathlib, sys, time
brief = json.loads(sys.stdin.buffer.readline())
place = pathlib.Path(brief["place"])
with (place / "started").open("a") as file:
    file.write(f"{os.getpid()} {os.environ.get('COLOUR')}\\n")
if "dies" in brief:
    sys.exit(brief["dies"])
if "deaf" in brief:
    time.sleep(60)
sys.stdin.buffer.read()
(place / "ended").write_text(str(os.getpid()))
"""

PARENT = """
import sys, time
from service.supervisor import Child, Supervisor
child = Supervisor(Child("child_of_test", {"place": sys.argv[1]}, came_up=lambda pid: True), on_give_up=print)
child.start()
time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "child_of_test.py").write_text(CHILD)
    return tmp_path


def supervise(place: Path, *, came_up: bool = True, reasons: list[str] | None = None, **brief: Any) -> Supervisor:
    child = Child(
        "child_of_test",
        {"place": str(place), **brief},
        came_up=lambda _: came_up,
        environment={"PYTHONPATH": str(place), "COLOUR": "blue"},
    )
    supervisor = Supervisor(child, on_give_up=(reasons if reasons is not None else []).append)
    supervisor.start()
    return supervisor


def test_a_child_is_told_its_brief_and_its_environment(place: Path) -> None:
    child = supervise(place)
    until(lambda: started(place))
    assert (place / "started").read_text() == f"{child.pid} blue\n"
    child.stop(5)


def test_stopping_ends_the_child_by_its_pipe(place: Path) -> None:
    child = supervise(place)
    until(lambda: started(place))
    pid = child.pid
    assert child.stop(5) == 0
    assert (place / "ended").read_text() == str(pid)
    assert child.pid is None


def test_a_child_that_does_not_end_by_its_pipe_is_killed(place: Path) -> None:
    child = supervise(place, deaf=True)
    until(lambda: started(place))
    assert child.stop(0.1) == -signal.SIGKILL


def test_a_child_that_dies_is_started_again(place: Path) -> None:
    reasons: list[str] = []
    child = supervise(place, reasons=reasons)
    for number in range(1, 6):
        until(lambda number=number: len(started(place)) == number)
        if number < 5:
            os.kill(started(place)[-1], signal.SIGKILL)
    assert len(set(started(place))) == 5
    assert child.stop(5) == 0
    assert reasons == []


def test_three_failures_before_it_was_up_give_up_with_a_reason(place: Path) -> None:
    reasons: list[str] = []
    child = supervise(place, came_up=False, reasons=reasons, dies=7)
    until(lambda: reasons)
    assert len(started(place)) == 3
    assert reasons == ["The child_of_test ended 3 times before it was up; last status 7."]
    began_s = time.monotonic()
    child.stop(5)
    assert time.monotonic() - began_s < 2


def test_after_giving_up_it_is_tried_on_slowly(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "_SLOW_RETRY_S", 0.05)
    reasons: list[str] = []
    child = supervise(place, came_up=False, reasons=reasons, dies=7)
    until(lambda: len(reasons) == 3)
    child.stop(5)
    assert "ended 5 times" in reasons[-1]


def test_a_child_that_was_told_to_end_is_not_started_again(place: Path) -> None:
    child = supervise(place)
    until(lambda: started(place))
    child.end()
    until(lambda: (place / "ended").exists())
    assert child.stop(5) == 0
    assert len(started(place)) == 1


def test_the_child_of_a_killed_parent_ends(place: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{place}:{Path(supervisor_module.__file__).parents[1]}"}
    with subprocess.Popen([sys.executable, "-c", PARENT, str(place)], env=environment) as parent:
        until(lambda: started(place))
        assert not (place / "ended").exists()
        parent.kill()
    until(lambda: (place / "ended").exists())


def test_the_brief_is_one_line_of_json(place: Path) -> None:
    child = supervise(place, note="one\ntwo")
    until(lambda: started(place))
    assert child.stop(5) == 0


def test_a_child_that_does_not_come_up_in_time_is_killed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "START_WITHIN_S", 0.5)
    reasons: list[str] = []
    child = supervise(place, came_up=False, reasons=reasons, deaf=True)
    until(lambda: reasons, within_s=20)
    child.stop(0.1)
    assert reasons[0].endswith("last status -9.")


def test_a_child_that_cannot_be_started_is_tried_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "_PAUSE_S", 0.05)
    failures = iter([OSError("no memory"), OSError("no memory"), None])

    def started_at_last(*arguments: Any) -> Started:
        if (error := next(failures)) is not None:
            raise error
        return Started(*arguments)

    monkeypatch.setattr(supervisor_module, "Started", started_at_last)
    child = supervise(place)
    until(lambda: started(place))
    assert child.stop(5) == 0
