"""Children that are forked from a template."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog

from service import children as children_module
from service import supervisor as supervisor_module
from service.supervisor import Child, Supervisor
from tests.service.supervised import started, until

FORKED = """
import json, os, pathlib, sys, time

LOADED = f"{os.getpid()} {time.monotonic()}"

def main():
    brief = json.loads(sys.stdin.buffer.readline())
    place = pathlib.Path(brief["place"])
    with (place / "started").open("a") as file:
        file.write(f"{os.getpid()} {LOADED}\\n")
    if "dies" in brief:
        os._exit(brief["dies"])
    sys.stdin.buffer.read()
    (place / "ended").write_text(str(os.getpid()))
    os._exit(0)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "child_of_test.py").write_text(FORKED)
    return tmp_path


def supervise_forks(place: Path, **more: Any) -> Supervisor:
    brief = {"place": str(place), **more.pop("brief", {})}
    environment = {"PYTHONPATH": str(place)}
    child = Child("child_of_test", brief, came_up=lambda _: True, environment=environment, forks=True, **more)
    supervisor = Supervisor(child, on_give_up=pytest.fail)
    supervisor.start()
    return supervisor


def loaded_by(place: Path) -> list[int]:
    """The process that loaded the module of each child."""
    return [int(line.split()[1]) for line in (place / "started").read_text().splitlines()]


def test_children_are_forked_from_one_process_that_has_loaded_their_module(place: Path) -> None:
    child = supervise_forks(place)
    for number in range(1, 4):
        until(lambda number=number: len(started(place)) == number)
        os.kill(started(place)[-1], signal.SIGKILL)
    until(lambda: len(started(place)) == 4)
    assert len(set(started(place))) == 4
    (template,) = set(loaded_by(place))
    assert template not in started(place)
    until(lambda: child.pid == started(place)[-1])
    assert child.stop(5) == 0
    assert (place / "ended").read_text() == str(started(place)[-1])
    assert not psutil.pid_exists(template)


def test_the_status_of_a_forked_child_is_known(place: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        child = supervise_forks(place, brief={"dies": 7})
        until(lambda: len(started(place)) > 2)
        child.stop(5)
    assert {entry["status"] for entry in logs if entry["event"] == "child died"} == {7}


def test_a_dead_template_costs_no_child_and_is_replaced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "_SLOW_RETRY_S", 0.1)
    child = supervise_forks(place)
    until(lambda: started(place))
    template = loaded_by(place)[0]
    os.kill(template, signal.SIGKILL)
    os.kill(started(place)[-1], signal.SIGKILL)
    until(lambda: len(started(place)) == 2)
    time.sleep(1)  # in which it has a template again
    os.kill(started(place)[-1], signal.SIGKILL)
    until(lambda: len(started(place)) == 3)
    assert loaded_by(place)[2] not in (template, *started(place))
    assert child.stop(5) == 0


def test_a_template_that_is_still_loading_is_not_waited_for_at_the_end(place: Path) -> None:
    (place / "slow_to_load.py").write_text("import time; time.sleep(60)")
    environment = {"PYTHONPATH": str(place)}
    child = Child("slow_to_load", {}, came_up=lambda _: True, environment=environment, forks=True)
    supervisor = Supervisor(child, on_give_up=pytest.fail)
    supervisor.start()
    time.sleep(0.3)
    began_s = time.monotonic()
    assert supervisor.stop(5) is None
    assert time.monotonic() - began_s < 2


def test_a_child_in_trouble_is_killed_and_replaced(place: Path) -> None:
    sick: list[int] = []
    child = supervise_forks(place, trouble=lambda pid: "it hangs" if pid in sick else None)
    until(lambda: started(place))
    sick += started(place)
    until(lambda: len(started(place)) == 2)
    assert child.pid == started(place)[1]
    child.stop(5)


def test_a_template_that_hangs_is_given_up_and_the_child_started_afresh(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children_module, "_FORK_WITHIN_S", 0.5)
    child = supervise_forks(place)
    until(lambda: started(place))
    os.kill(loaded_by(place)[0], signal.SIGSTOP)
    os.kill(started(place)[-1], signal.SIGKILL)
    until(lambda: len(started(place)) == 2)
    assert loaded_by(place)[1] == started(place)[1], "it loaded the module itself"
    assert child.stop(5) == 0
