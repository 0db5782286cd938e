"""The tensor tab: JSON and files in, losses, weights and gradients out."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.page.files import drop, npz
from tests.page.opening import DRAWN, metric
from tests.serving import Server


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
    drop(tab, ("layer.npz", npz(**{name: array.astype(np.float32) for name, array in arrays.items()})))
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
        drop(tab, ("large.npz", npz(query=rows, key=rows)))
    assert answered.value.request.post_data_json["queries"][1] <= 1024
    expect(tab.locator(f"#tensor-map {DRAWN}")).to_be_visible()


def test_two_maps_of_a_file_have_losses_between_them(tab: Page) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 6, 3)).astype(np.float32)
    drop(tab, ("two.npz", npz(query=rows[0], key=rows[1], other_q=rows[2], other_k=rows[3])))
    expect(tab.locator("#tensor-status")).to_contain_text("query [6, 3]")
    tab.check("#loss-kl")
    expect(tab.locator("[data-metric=kl] dd")).to_have_text(re.compile(r"^\d"))


def test_arrays_of_other_names_are_given_their_roles(tab: Page) -> None:
    drop(tab, ("x.npz", npz(a=np.eye(3, dtype=np.float32), b=np.eye(3, dtype=np.float32))))
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


def posted(page: Page, action: Any) -> dict[str, Any]:
    """The body of the request that the action leads to."""
    with page.expect_request(lambda request: "query" in (request.post_data or "")) as sent:
        action()
    return dict(sent.value.post_data_json)


def test_the_json_can_be_cleared_and_stays_so_in_the_link(tab: Page) -> None:
    tab.fill("#tensor-json", "")
    expect(tab.locator("#tensor-failure")).to_contain_text("There is no query yet")
    expect(tab.locator("#tensor-json")).to_have_value("")
    tab.wait_for_url("**tensors=")
    tab.reload()
    expect(tab.locator("#tensor-failure")).to_contain_text("There is no query yet")


def test_the_options_show_what_the_json_has_and_override_it_once_they_are_used(tab: Page) -> None:
    body = {"query": [[1, 0], [0, 1]], "key": [[1, 0], [0, 1]], "causal": True, "dtype": "float64", "scale": 0.5}
    sent = posted(tab, lambda: tab.fill("#tensor-json", json.dumps(body)))
    assert (sent["causal"], sent["dtype"], sent["scale"]) == (True, "float64", 0.5)
    expect(tab.locator("#tensor-causal")).to_be_checked()
    expect(tab.locator("#tensor-dtype")).to_have_value("float64")
    expect(tab.locator("#tensor-scale")).to_have_attribute("placeholder", "0.5")
    assert posted(tab, lambda: tab.uncheck("#tensor-causal"))["causal"] is False
    assert posted(tab, lambda: tab.select_option("#tensor-dtype", "float32"))["dtype"] == "float32"
    assert posted(tab, lambda: tab.fill("#tensor-scale", "2"))["scale"] == 2
    assert posted(tab, lambda: tab.fill("#tensor-scale", ""))["scale"] == 0.5
    expect(tab.locator("#tensor-causal")).not_to_be_checked()


def test_a_link_that_is_opened_while_the_text_is_shown_brings_its_tensors(tab: Page) -> None:
    tab.click("#tab-text")
    tensors = '{"query": [[1, 2]], "key": [[3, 4], [5, 6]]}'
    tab.evaluate("tensors => { location.hash = new URLSearchParams({ tensors }) }", tensors)
    tab.click("#tab-tensors")
    expect(tab.locator("#tensor-status")).to_contain_text("query [1, 2]")


def test_a_link_takes_the_place_of_a_file(tab: Page) -> None:
    drop(tab, ("x.npz", npz(q=np.eye(3, dtype=np.float32), k=np.eye(3, dtype=np.float32))))
    expect(tab.locator("#tensor-status")).to_contain_text("query [3, 3]")
    tensors = '{"query": [[1, 2]], "key": [[3, 4], [5, 6]]}'
    tab.evaluate("tensors => { location.hash = new URLSearchParams({ tab: 'tensors', tensors }) }", tensors)
    expect(tab.locator("#tensor-status")).to_contain_text("query [1, 2]")
    expect(tab.locator("#tensor-json")).to_be_visible()


def test_the_head_that_is_looked_at_stays_when_a_loss_is_ticked(tab: Page) -> None:
    rows = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype(np.float32)
    drop(tab, ("x.npz", npz(q=rows, k=rows)))
    expect(tab.locator("#tensor-status")).to_contain_text("query [2, 4, 5, 3]")
    tab.select_option("#tensor-head", "3")
    tab.select_option("#tensor-batch", "1")
    tab.check("#loss-distance")
    expect(tab.locator("[data-metric=distance] dd")).to_be_visible()
    assert [tab.input_value(f"#tensor-{name}") for name in ("batch", "head")] == ["1", "3"]
