"""`attnloss attention`: a table, a strip, and files."""

import json
import os
import pty
import re
from pathlib import Path

import httpx
import numpy as np
import pytest

from attnloss import plot
from tests.cli.conftest import Command

TEXT = "I love programming"


def test_a_pipe_gets_a_row_a_head_and_numbers_instead_of_colours(attnloss: Command, url: str) -> None:
    out = attnloss("attention", TEXT, "--server", url).stdout
    assert "\x1b" not in out
    assert len(re.findall(r"^│ +\d+ │ +\d ", out, re.MULTILINE)) == 18
    assert re.search(r"<\|text\|> 0\.\d\d \| I 0\.\d\d \| love 0\.\d\d \| programming 0\.\d\d", out)


def test_one_head_gets_a_row_a_token_with_what_the_server_answers(attnloss: Command, url: str) -> None:
    body = {"text": TEXT, "layers": [1], "heads": [2], "return": ["entropy", "received", "weights"]}
    layer = httpx.post(f"{url}/attention", json=body).json()["results"][0]["layers"][0]
    told = json.loads(
        attnloss("attention", "-", "--layer", 1, "--head", 2, "--json", stdin=TEXT.encode(), ATTNLOSS_URL=url).stdout
    )
    assert [row["token"] for row in told["rows"]] == ["<|text|>", "I", " love", " programming"]
    assert [row["entropy"] for row in told["rows"]] == pytest.approx(layer["entropy"][0], abs=1e-5)
    assert [row["weight"] for row in told["rows"]] == pytest.approx(np.max(layer["weights"][0], -1), abs=1e-5)
    assert told["seen_share"] == pytest.approx(np.array(layer["received"][0]) / [4, 3, 2, 1], abs=1e-5)
    assert "strongest key" in attnloss("attention", TEXT, "--layer", 1, "--head", 2, ATTNLOSS_URL=url).stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_colours_unless_it_wants_none(attnloss: Command, url: str, no_color: str) -> None:
    master, slave = pty.openpty()
    process = attnloss.start(
        "attention", "a\x1b[2J b", "--server", url, TERM="xterm-256color", NO_COLOR=no_color, stdout=slave
    )
    os.close(slave)
    out = b""
    try:
        while part := os.read(master, 4096):
            out += part
    except OSError:  # the end of a terminal
        pass
    assert process.wait(30) == 0
    os.close(master)
    for pipe in (process.stdin, process.stderr):
        assert pipe is not None
        pipe.close()
    assert (b"48;5;" in out) == (not no_color)
    assert b"\x1b[2J" not in out, "the text must not command the terminal"
    assert b"\\x1b" in out


def test_a_page_shows_the_weights_escapes_the_text_and_asks_for_nothing(
    attnloss: Command, url: str, tmp_path: Path
) -> None:
    text = "</script><script>alert(1)</script> & more"
    attnloss("attention", text, "--server", url, "--layer", 0, "--plot", "a.html")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<script") == 2
    assert "alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"(src|href|url)\s*[=(]|https?:", page)
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert "".join(data["keys"][1:]) == text
    assert len(data["maps"]) == 3
    assert np.sum(data["maps"][0]["weights"], -1) == pytest.approx(1, abs=0.01)


def test_images_are_what_their_names_say(attnloss: Command, url: str, tmp_path: Path) -> None:
    attnloss("attention", "$x^ <b> 你好", "--server", url, "--layer", 0, "--head", 0, "--plot", "a.png")
    image = (tmp_path / "a.png").read_bytes()
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert image[-8:-4] == b"IEND"
    attnloss("attention", TEXT, "--server", url, "--plot", "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    attnloss("attention", TEXT, "--server", url, "--theme", "dark", "--plot", "b.svg")
    assert plot.DARK.background in (tmp_path / "b.svg").read_text()
    assert plot.DARK.background not in (tmp_path / "a.svg").read_text()


def test_a_plot_that_cannot_be_drawn_is_one_line(attnloss: Command, tmp_path: Path) -> None:
    assert ".png, .svg or .html" in attnloss.refused("attention", TEXT, "--plot", "a.pdf")
    assert "no such directory" in attnloss.refused("attention", TEXT, "--plot", "gone/a.html")
    assert "one of light, dark" in attnloss.refused("attention", TEXT, "--plot", "a.png", "--theme", "red")
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    path = f"{tmp_path}:{Path(__file__).parents[2]}"
    assert "attnloss[plot]" in attnloss.refused("attention", TEXT, "--plot", "a.png", PYTHONPATH=path)


def test_a_layer_that_is_not_there_is_one_line(attnloss: Command, url: str) -> None:
    assert "layers" in attnloss.refused("attention", TEXT, "--server", url, "--layer", 99)
