"""The wheel, away from this checkout: an editable install would hide a file that it lacks."""

import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[1]
START_WITHIN_S = 30.0


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of an environment that holds the wheel, and beside it what the wheel depends on."""
    home = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", home / "dist", ROOT)
    (wheel,) = (home / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", home / "venv")
    bin_ = home / "venv" / "bin"
    run(
        sys.executable, "-m", "pip", "--python", bin_ / "python", "install", "--quiet", "--no-deps", "--no-index", wheel
    )
    # A path file is not read for path files of its own: the editable install of this checkout stays out.
    packages = Path(run(bin_ / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin_


@pytest.fixture
def url(installed: Path, tmp_path: Path) -> Iterator[str]:
    """A server started by the installed command in an empty directory; it ends in order."""
    log = tmp_path / "log"
    cwd = tmp_path / "empty"
    cwd.mkdir()
    with log.open("wb") as output:
        command = [str(installed / "attnloss"), "serve", "--port", "0", "--processes", "1"]
        process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        give_up_s = time.monotonic() + START_WITHIN_S
        while not (found := re.search(r"http://127.0.0.1:\d+", log.read_text())) or not is_ready(found[0]):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_s, log.read_text()
            time.sleep(0.05)
        yield found[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def test_the_wheel_is_imported_from_its_own_environment(installed: Path, tmp_path: Path) -> None:
    program = "import attnloss, service; print(attnloss.__file__, service.__file__)"
    for path in run(installed / "python", "-c", program, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed.parent)


def test_the_wheel_holds_every_file_of_the_packages(installed: Path) -> None:
    packages = next((installed.parent / "lib").glob("*/site-packages"))
    for package in ("attnloss", "service"):
        sources = {
            path.relative_to(ROOT)
            for path in ROOT.glob(f"{package}/**/*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert {path for path in sources if not (packages / path).exists()} == set()
    (licence,) = packages.glob("attnloss-*.dist-info/licenses/LICENSE")
    assert licence.read_text() == (ROOT / "LICENSE").read_text()


def test_the_installed_command_serves(url: str) -> None:
    body = {"query": [[1.0, 0.0]], "key": [[1.0, 0.0], [1.0, 0.0]], "return": ["weights"]}
    with httpx.Client(base_url=url, trust_env=False) as client:
        answer = client.post("/attention", json=body).raise_for_status().json()
        assert answer["weights"] == [[0.5, 0.5]]
        loss = client.post("/loss", json=body | {"return": ["loss", "grad"]}).raise_for_status().json()
        assert loss["loss"] == pytest.approx(0.6931472)
        assert client.get("/docs").status_code == 200


def test_the_installed_command_scores_text_with_the_model_that_it_brings(url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        (result,) = client.post("/loss", json={"text": "I love programming"}).raise_for_status().json()["results"]
        assert result["tokens"][1:] == ["I", " love", " programming"]
        assert result["loss"] > 0
        attention = client.post("/attention", json={"text": "I love programming"}).raise_for_status().json()
        assert len(attention["results"][0]["layers"]) == 6


def test_the_installed_command_says_its_version(installed: Path, tmp_path: Path) -> None:
    version = run(installed / "attnloss", "--version", cwd=tmp_path)
    assert re.fullmatch(r"attnloss \d+\.\d+\.\d+\S*", version)
