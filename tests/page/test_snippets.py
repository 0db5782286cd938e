"""The commands of what is on screen, run against the service: what they print is what the page shows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.opening import DRAWN, Opener, settled, tokens

LONG = "It was the best of times, it was the worst of times. " * 30


def snippet(page: Page, language: str = "curl") -> str:
    if page.locator("#take").get_attribute("open") is None:
        page.click("#take summary")
    page.get_by_text(language, exact=True).click()
    return page.locator("#snippet").inner_text()


def titles(page: Page) -> list[str]:
    return [line[2:] for line in snippet(page).splitlines() if line.startswith("# ")]


def ran(page: Page, folder: Path) -> dict[str, Any]:
    """What each command of curl prints, by its title; Python's must print the same."""
    done = subprocess.run(["bash", "-euc", snippet(page)], cwd=folder, capture_output=True, text=True, check=True)
    answers = [json.loads(part) for part in done.stdout.replace("}{", "}\n{").splitlines()]
    code = snippet(page, "Python")
    python = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert python.returncode == 0, python.stderr
    assert [eval(line).keys() for line in python.stdout.splitlines()] == [answer.keys() for answer in answers]
    return dict(zip(titles(page), answers, strict=True))


def test_two_texts_are_both_asked_for(opened: Opener, tmp_path: Path) -> None:
    page = opened(compare="texts", text2="I hate programming")
    expect(page.locator(f"#map-b {DRAWN}")).to_be_visible()
    answers = ran(page, tmp_path)
    second = answers["Tokens of B and their losses"]["results"][0]
    assert [token.strip() for token in second["tokens"]][-1] == "programming"
    assert page.locator("#compare-numbers tbody tr").first.locator("td").last.inner_text() == f"{second['loss']:.4g}"
    [weights] = [answer for title, answer in answers.items() if title.startswith("Weights of B")]
    assert len(weights["results"][0]["layers"][0]["weights"][0]) == len(second["tokens"])


@pytest.mark.parametrize("mode", ["heads", "models"])
def test_the_second_map_is_asked_for(opened: Opener, tmp_path: Path, mode: str) -> None:
    page = opened(compare=mode, layer2=1, head2=2)
    expect(page.locator(f"#map-b {DRAWN}")).to_be_visible()
    assert ran(page, tmp_path)["Weights of B: layer 1, head 2"]["results"][0]["layers"][0]["layer"] == 1


def test_the_alignment_is_asked_for(opened: Opener, tmp_path: Path) -> None:
    page = opened(model="t5", target="das Haus", text="the house")
    expect(page.locator("#alignment-list tr").first).to_be_visible()
    answers = ran(page, tmp_path)
    [result] = next(answer for title, answer in answers.items() if "alignment" in title)["results"]
    heads = result["layers"][0]["weights"]
    mean = [sum(head[0][k] for head in heads) / len(heads) for k in range(len(heads[0][0]))]
    best = result["tokens"][mean.index(max(mean))]
    assert best.strip() in page.locator("#alignment-list tr").first.locator("td").first.inner_text()


def test_the_alternatives_of_a_long_text_are_asked_for_once_they_are_shown(opened: Opener, tmp_path: Path) -> None:
    page = opened(text=LONG)
    assert "What else the model expected" not in titles(page)
    page.locator("#tokens [role=option]").nth(5).click()
    expect(page.locator("#alternatives tbody tr").first).to_be_visible()
    expect(page.locator("#snippet")).to_contain_text("What else the model expected")
    found = ran(page, tmp_path)["What else the model expected"]["results"][0]["alternatives"][5]
    assert found[0]["token"].strip() in page.locator("#alternatives tbody tr").first.inner_text()


def test_of_a_large_map_the_window_in_view_is_asked_for(opened: Opener, tmp_path: Path) -> None:
    page = opened(text=LONG)
    assert len(tokens(page)) > 300
    page.click("#map .map-tools button >> nth=0")
    page.locator("#map canvas").focus()
    for _ in range(40):
        page.keyboard.press("ArrowDown")
    page.wait_for_timeout(300)
    body = json.loads(next(line for line in snippet(page).splitlines() if '"queries"' in line).split(" -d '")[1][:-1])
    shown = page.evaluate("document.querySelector('#map .readout').textContent")
    assert body["queries"][0] <= 40 < body["queries"][1], (shown, body)
    assert body["queries"] != [0, 256]
    [answer] = [answer for title, answer in ran(page, tmp_path).items() if title.startswith("Weights")]
    [weights] = answer["results"][0]["layers"][0]["weights"]
    assert (len(weights), len(weights[0])) == (
        body["queries"][1] - body["queries"][0],
        body["keys"][1] - body["keys"][0],
    )


def test_a_text_too_long_for_a_command_is_read_from_files(opened: Opener, tmp_path: Path) -> None:
    page = opened(wait=False)
    settled(page)
    page.fill("#text", "it's " * 5000)
    settled(page)
    page.click("#take summary")
    expect(page.locator("#bodies button")).to_have_count(3)
    for button in page.locator("#bodies button").all():
        with page.expect_download() as came:
            button.click()
        came.value.save_as(tmp_path / came.value.suggested_filename)
    assert "@attnloss-tokens-body.json" in snippet(page)
    assert len(ran(page, tmp_path)["Tokens and their losses"]["results"][0]["tokens"]) == len(tokens(page))
