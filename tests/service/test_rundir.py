import os
import stat
import time
from pathlib import Path

import pytest

from service.rundir import RunDirectory, sweep


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path


def aged(path: Path) -> Path:
    then_s = time.time() - 3600
    os.utime(path, (then_s, then_s))
    return path


def left_behind(base: Path, name: str) -> Path:
    path = base / f"attnloss-{os.getuid()}-{name}"
    path.mkdir(mode=0o700)
    (path / "link").touch()
    return aged(path)


def test_the_directory_is_readable_by_its_user_alone(base: Path) -> None:
    mask = os.umask(0)
    try:
        directory = RunDirectory.open(base, "a")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert directory.path.name == f"attnloss-{os.getuid()}-a"
    assert directory.worker(3).address == f"ipc://{directory.path}/link-3"
    assert directory.metrics.is_dir()
    directory.close()


def test_the_last_member_that_closes_removes_the_directory(base: Path) -> None:
    first, second = RunDirectory.open(base, "a"), RunDirectory.open(base, "a")
    assert first.path == second.path
    first.close()
    assert second.path.is_dir()
    second.close()
    assert not second.path.exists()


def test_a_lock_is_held_by_one_member_until_it_closes(base: Path) -> None:
    first, second = RunDirectory.open(base, "a"), RunDirectory.open(base, "a")
    assert first.lock("owner")
    assert first.lock("owner")
    assert not second.lock("owner")
    first.close()
    assert second.lock("owner")
    second.close()


def test_directories_whose_service_was_killed_are_swept_at_the_next_start(base: Path) -> None:
    stale = left_behind(base, "stale")
    directory = RunDirectory.open(base, "new")
    assert not stale.exists()
    directory.close()


def test_directories_of_a_running_service_are_not_swept(base: Path) -> None:
    running = RunDirectory.open(base, "running")
    aged(running.path)
    sweep(base)
    assert running.metrics.is_dir()
    running.close()


def test_a_directory_that_was_just_made_is_not_swept(base: Path) -> None:
    young = left_behind(base, "young")
    os.utime(young)
    sweep(base)
    assert young.is_dir()


def test_what_belongs_to_others_is_not_swept(base: Path) -> None:
    other = base / f"attnloss-{os.getuid() + 1}-x"
    other.mkdir()
    aged(other)
    sweep(base)
    assert other.is_dir()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o500])
def test_a_directory_of_another_mode_is_refused(base: Path, mode: int) -> None:
    (base / f"attnloss-{os.getuid()}-a").mkdir()
    (base / f"attnloss-{os.getuid()}-a").chmod(mode)
    with pytest.raises(OSError, match="mode 0700"):
        RunDirectory.open(base, "a")


def test_a_directory_of_another_user_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    (base / f"attnloss-{stranger}-a").mkdir(mode=0o700)
    with pytest.raises(OSError, match=f"owned by user {stranger}"):
        RunDirectory.open(base, "a")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_directory_is_refused(base: Path, kind: str) -> None:
    path = base / f"attnloss-{os.getuid()}-a"
    if kind == "file":
        path.touch(mode=0o700)
    else:
        (base / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(base / "elsewhere")
    with pytest.raises(OSError, match="is not a directory"):
        RunDirectory.open(base, "a")


def test_a_path_too_long_for_a_socket_is_refused_with_the_setting_that_helps(base: Path) -> None:
    long = base / ("x" * 100)
    long.mkdir()
    with pytest.raises(OSError, match="ATTNLOSS_RUN_DIRECTORY"):
        RunDirectory.open(long, "a")
    assert list(long.iterdir()) == []
