"""The tensor tab: JSON and files in, losses, weights and gradients out."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.page.opening import DRAWN, Opener, metric
from tests.serving import Server


@pytest.fixture
def tab(opened: Opener) -> Page:
    page = opened(wait=False, tab="tensors")
    expect(page.locator(f"#tensor-map {DRAWN}")).to_be_visible()
    return page


def drop(page: Page, name: str, data: bytes) -> None:
    transfer = page.evaluate_handle(
        "([name, data]) => { const t = new DataTransfer(); t.items.add(new File([new Uint8Array(data)], name)); return t; }",
        [name, list(data)],
    )
    page.dispatch_event("#tensor-drop", "drop", {"dataTransfer": transfer})


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_pasted_json_is_computed_with_the_losses_that_are_ticked(tab: Page, site: Server) -> None:
    body = {"query": [[1, 0], [0, 1]], "key": [[1, 0], [0, 1]]}
    expected = site.post("/loss", {**body, "losses": [{"name": "entropy"}, {"name": "guided", "sigma": 0.3}]})
    tab.fill("#tensor-json", json.dumps(body))
    tab.check("#loss-entropy")
    tab.check("#loss-guided")
    tab.fill("#param-guided-sigma", "0.3")
    tab.locator("#param-guided-sigma").blur()
    expect(tab.locator("[data-metric=guided] dd")).to_have_text(re.compile(f"^{expected['losses']['guided']:.6g}"[:7]))
    assert metric(tab, "loss") == pytest.approx(expected["loss"], abs=1e-4)
    for name in tab.locator("#tensor-shown option").all_inner_texts():
        tab.select_option("#tensor-shown", label=name)
        expect(tab.locator(f"#tensor-map {DRAWN}")).to_have_attribute("aria-label", name)
    assert "gradient of query" in tab.locator("#tensor-shown").inner_text()
    tab.select_option("#tensor-per-query", label="guided")
    expect(tab.locator("#tensor-bars rect")).to_have_count(2)


def test_every_loss_of_one_map_is_answered(tab: Page) -> None:
    boxes = tab.locator("#tensor-losses input[type=checkbox]:not(:disabled)")
    names = boxes.evaluate_all("boxes => boxes.map(box => box.id)")
    names.remove("loss-disagreement")  # compares heads, of which a matrix has one
    assert len(names) > 18
    for name in names:
        with tab.expect_response(lambda response: response.url.endswith("/loss")) as answered:
            tab.check(f"#{name}")
        assert answered.value.ok, (name, answered.value.text())


def test_an_archive_is_dropped_and_its_heads_are_looked_at(tab: Page) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "q": rng.standard_normal((2, 4, 9, 8)),
        "k": rng.standard_normal((2, 2, 7, 8)),
        "v": rng.standard_normal((2, 2, 7, 5)),
    }
    drop(tab, "layer.npz", npz(**{name: array.astype(np.float32) for name, array in arrays.items()}))
    expect(tab.locator("#tensor-status")).to_contain_text("query [2, 4, 9, 8]")
    expect(tab.locator("#tensor-head option")).to_have_count(4)
    tab.select_option("#tensor-head", "3")
    tab.select_option("#tensor-batch", "1")
    score = arrays["q"][1, 3] @ arrays["k"][1, 1].T / np.sqrt(8)
    weights = np.exp(score) / np.exp(score).sum(-1, keepdims=True)
    tab.locator("#tensor-map canvas").focus()
    tab.keyboard.press("ArrowDown")
    expect(tab.locator("#tensor-map .readout")).to_contain_text(f"q1, k0: {weights[1, 0]:.4f}"[:-1])
    tab.select_option("#tensor-shown", "grad.key")
    expect(tab.locator(f"#tensor-map {DRAWN}")).to_be_visible()
    tab.click("#tensor-forget")
    expect(tab.locator("#tensor-json")).to_be_visible()


def test_a_large_map_is_drawn_in_windows(tab: Page) -> None:
    rows = np.random.default_rng(0).standard_normal((1500, 8)).astype(np.float32)
    with tab.expect_response(lambda response: '"queries"' in (response.request.post_data or "")) as answered:
        drop(tab, "large.npz", npz(query=rows, key=rows))
    assert answered.value.request.post_data_json["queries"][1] <= 1024
    expect(tab.locator(f"#tensor-map {DRAWN}")).to_be_visible()


def test_two_maps_of_a_file_have_losses_between_them(tab: Page) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 6, 3)).astype(np.float32)
    drop(tab, "two.npz", npz(query=rows[0], key=rows[1], other_q=rows[2], other_k=rows[3]))
    expect(tab.locator("#tensor-status")).to_contain_text("query [6, 3]")
    tab.check("#loss-kl")
    expect(tab.locator("[data-metric=kl] dd")).to_have_text(re.compile(r"^\d"))


def test_arrays_of_other_names_are_given_their_roles(tab: Page) -> None:
    drop(tab, "x.npz", npz(a=np.eye(3, dtype=np.float32), b=np.eye(3, dtype=np.float32)))
    expect(tab.locator("#tensor-failure")).to_contain_text("no query yet")
    tab.select_option("select[name=a]", "query")
    tab.select_option("select[name=b]", "key")
    expect(tab.locator("#tensor-status")).to_contain_text("query [3, 3]")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not JSON"),
        ('{"key": [[1]]}', "no query"),
        ('{"query": [[1], [1, 2]], "key": [[1]]}', "query[1]"),
    ],
)
def test_broken_json_says_what_is_wrong(tab: Page, console: list[str], text: str, words: str) -> None:
    tab.fill("#tensor-json", text)
    expect(tab.locator("#tensor-failure")).to_contain_text(words)
    console[:] = [line for line in console if "status of 422" not in line]
    tab.click("#tensor-example")
    expect(tab.locator("#tensor-failure")).to_be_empty()
    expect(tab.locator("#tensor-results")).to_be_visible()


def test_a_file_of_another_kind_is_refused_in_words(tab: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    tab.set_input_files("#tensor-file", tmp_path / "notes.txt")
    expect(tab.locator("#tensor-failure")).to_contain_text(".npz, .npy, .safetensors or .json")
