"""Snippets, links and files: what leaves the page is what was on it."""

import codecs
import csv
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page, expect

from tests.page.opening import DRAWN, Opener, settled, tokens, type_text

QUOTED = 'It\'s "so" 👩‍👧 $HOME `x` \\n'


def copied(page: Page, button: str) -> str:
    page.click(button)
    expect(page.locator("#take-says")).to_have_text("Copied.")
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_the_curl_commands_run_as_they_are(opened: Opener) -> None:
    page = opened(text=QUOTED)
    page.click("#take summary")
    expect(page.locator("#snippet")).to_contain_text("# Word order")
    done = subprocess.run(["bash", "-euc", copied(page, "#copy-snippet")], capture_output=True, text=True, check=True)
    answers = [json.loads(part) for part in done.stdout.replace("}{", "}\n{").splitlines()]
    assert len(answers) == 4
    shown = answers[0]["results"][0]
    assert len(shown["tokens"]) == len(tokens(page))
    assert f"{shown['loss']:.3f}"[:4] in page.locator("[data-metric=loss]:visible").inner_text()
    assert answers[2]["results"][0]["layers"][0]["weights"]


def test_the_python_runs_as_it_is(opened: Opener) -> None:
    page = opened(text=QUOTED)
    page.click("#take summary")
    page.get_by_text("Python", exact=True).click()
    code = copied(page, "#copy-snippet")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_a_link_restores_the_screen(opened: Opener) -> None:
    page = opened()
    type_text(page, "The cat & the 💩 sat")
    page.get_by_role("button", name="Layer 1, head 2").click()
    page.locator("#tokens [role=option]").nth(3).click()
    page.select_option("#measure", "renyi")
    page.get_by_text("Two heads").click()
    expect(page.locator(f"#map-b {DRAWN}")).to_be_visible()
    page.click("#take summary")
    address = copied(page, "#copy-link")
    again = opened.context.new_page()
    again.goto(address)
    settled(again)
    assert tokens(again) == tokens(page)
    expect(again.locator("#map-name")).to_have_text("Attention of layer 1, head 2")
    expect(again.locator("#measure")).to_have_value("renyi")
    expect(again.locator("#tokens [aria-selected=true]")).to_have_text(
        page.locator("#tokens [aria-selected=true]").inner_text()
    )
    expect(again.locator("#compare-says")).to_contain_text("KL(A‖B)")


def test_a_link_restores_the_tensors_and_how_they_are_computed(opened: Opener) -> None:
    page = opened(tab="tensors", wait=False)
    expect(page.locator("#tensor-status")).to_contain_text("query [4, 3]")
    page.check("#tensor-causal")
    page.uncheck("#tensor-grad")
    page.fill("#tensor-scale", "0.25")
    page.select_option("#tensor-dtype", "float64")
    with page.expect_response(lambda response: "[51,61]" in (response.request.post_data or "")) as answered:
        page.fill("#tensor-json", '{"query": [[1, 2]], "key": [[3, 4], [51, 61]]}')
    page.click("#take summary")
    address = copied(page, "#copy-link")
    again = opened.context.new_page()
    with again.expect_response(lambda response: "[51,61]" in (response.request.post_data or "")) as restored:
        again.goto(address)
    assert restored.value.request.post_data_json == answered.value.request.post_data_json
    assert restored.value.request.post_data_json["scale"] == 0.25
    expect(again.locator("#tensor-causal")).to_be_checked()
    expect(again.locator("#tensor-grad")).not_to_be_checked()
    expect(again.locator("#tensor-dtype")).to_have_value("float64")


@pytest.mark.parametrize("figure", ["tokens", "heads", "map", "headview", "order", "kl"])
def test_every_figure_is_downloaded_in_every_form(opened: Opener, tmp_path: Path, figure: str) -> None:
    page = opened(compare="heads")
    expect(page.locator("#compare-says")).to_contain_text("KL(A‖B)")
    page.click("#take summary")
    page.select_option("#figure", figure)
    for kind in ("png", "svg", "json", "csv"):
        with page.expect_download() as came:
            page.click(f"#downloads [data-kind={kind}]")
        assert came.value.suggested_filename == f"attnloss-{figure}.{kind}"
        path = tmp_path / came.value.suggested_filename
        came.value.save_as(path)
        if kind == "png":
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size > 1500
        elif kind == "svg":
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        elif kind == "json":
            assert json.loads(path.read_text())
        else:
            assert path.read_bytes().startswith(codecs.BOM_UTF8)
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.reader(file))
            assert len(rows) > 3
            assert len({len(row) for row in rows}) == 1


def test_pictures_of_a_text_with_control_characters_are_drawn(opened: Opener, tmp_path: Path) -> None:
    page = opened(text="one\x01 two\x1b three\ufffe")
    expect(page.locator("#order-plot svg")).to_be_visible()
    page.click("#take summary")
    for figure in ("tokens", "map", "headview", "order"):
        page.select_option("#figure", figure)
        for kind in ("png", "svg"):
            with page.expect_download() as came:
                page.click(f"#downloads [data-kind={kind}]")
            came.value.save_as(tmp_path / kind)
            assert kind == "png" or ElementTree.parse(tmp_path / kind).getroot().tag.endswith("svg")


def test_a_link_restores_what_is_looked_at_of_tensors(opened: Opener) -> None:
    heads = [[[[1, 0], [0, 1]], [[2, 1], [0, 3]]]]
    page = opened(
        tab="tensors", wait=False, losses="distance", tensors=json.dumps({"query": heads * 2, "key": heads * 2})
    )
    expect(page.locator("#tensor-head-field")).to_be_visible()
    chosen = {"shown": "grad.key", "per-query": "received", "batch": "1", "head": "1"}
    for name, value in chosen.items():
        page.select_option(f"#tensor-{name}", value)
    bars = page.locator("#tensor-bars").inner_html()
    page.click("#take summary")
    again = opened.context.new_page()
    again.goto(copied(page, "#copy-link"))
    expect(again.locator(f"#tensor-map {DRAWN}")).to_have_attribute("aria-label", "gradient of key")
    assert {name: again.input_value(f"#tensor-{name}") for name in chosen} == chosen
    assert again.locator("#tensor-bars").inner_html() == bars


def test_the_bars_are_written_as_they_are_drawn(opened: Opener, tmp_path: Path) -> None:
    page = opened(tab="tensors", wait=False, perQuery="received")
    expect(page.locator("#tensor-bars rect")).to_have_count(4)
    page.click("#take summary")
    page.select_option("#figure", "bars")
    with page.expect_download() as came:
        page.click("#downloads [data-kind=csv]")
    came.value.save_as(tmp_path / "bars")
    rows = (tmp_path / "bars").read_text("utf-8-sig").splitlines()
    assert [row.split(",")[0] for row in rows] == ["place", "k0", "k1", "k2", "k3"]
    assert sum(float(row.split(",")[1]) for row in rows[1:]) == pytest.approx(4)
