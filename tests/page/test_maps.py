"""The heat map and the head view: fitted to the room they have, whole or in windows, and what they show of a token."""

import json
from itertools import pairwise

import numpy as np
import pytest
from playwright.sync_api import Page, Request, expect

from tests.page.opening import DRAWN, Opener, run, settled, type_text
from tests.serving import Server

LONG = "The cat sat on the mat because it was tired, and nobody knew why. " * 150


def width(page: Page, of: str = "#map canvas") -> float:
    box = page.locator(of).bounding_box()
    assert box is not None
    return box["width"]


def windows(request: Request) -> list[int] | None:
    """The queries of a request for a window of a map; one query or key alone is that of a token in focus."""
    body = json.loads(request.post_data or "{}") if request.url.endswith("/attention") else {}
    sides = [body.get("queries"), body.get("keys")]
    return body["queries"] if all(side and side[1] - side[0] > 1 for side in sides) else None


def test_a_map_that_was_drawn_while_its_tab_was_hidden_is_fitted_when_it_is_shown(opened: Opener) -> None:
    page = opened(wait=False, tab="tensors")
    expect(page.locator("#order-plot svg")).to_be_attached()
    page.click("#tab-text")
    expect(page.locator(f"#map {DRAWN}")).to_be_visible()
    assert width(page) > 200


def test_a_map_follows_the_window_until_it_is_zoomed(page: Page) -> None:
    type_text(page, "The cat sat on the mat because it was tired.")
    wide = width(page)
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_function("before => document.querySelector('#map canvas').clientWidth < before", arg=wide)
    fitted = page.evaluate("(c => [c.clientWidth, c.clientHeight])(document.querySelector('#map canvas'))")
    assert abs(fitted[0] - fitted[1]) < 5
    page.get_by_role("button", name="Zoom in").first.click()
    zoomed = page.evaluate("document.querySelector('#map canvas').clientHeight")
    page.set_viewport_size({"width": 420, "height": 900})
    page.wait_for_timeout(200)
    assert page.evaluate("document.querySelector('#map canvas').clientHeight") == zoomed


def test_2048_tokens_fit_with_the_largest_weight_of_each_block(page: Page, site: Server) -> None:
    type_text(page, LONG)
    page.locator("#map").get_by_role("button", name="Fit").click()
    expect(page.locator("#map .note")).to_contain_text("the largest of 8 × 8 cells")
    expect(page.locator(f"#map {DRAWN}")).to_be_visible()
    window = {"queries": [2040, 2048], "keys": [0, 8], "layers": [-1], "heads": [0], "return": ["weights"]}
    answer = site.post("/attention", {"text": LONG, "truncate": True, **window})
    weights = np.array(answer["results"][0]["layers"][0]["weights"][0])
    query, key = np.unravel_index(weights.argmax(), weights.shape)
    page.locator("#map canvas").hover(position={"x": 1, "y": width(page) - 1})
    expect(page.locator("#map .readout")).to_contain_text(f"({2040 + query}) gives")
    expect(page.locator("#map .readout")).to_contain_text(f"({key}) {100 * weights.max():.2g} %")
    page.locator("#map").get_by_role("button", name="Zoom in").click()
    expect(page.locator("#map .note")).to_contain_text("4 × 4")


def test_a_map_that_is_seen_in_blocks_is_saved_in_blocks(page: Page) -> None:
    type_text(page, LONG)
    page.locator("#map").get_by_role("button", name="Fit").click()
    expect(page.locator("#map .note")).to_contain_text("8 × 8")
    expect(page.locator(f"#map {DRAWN}")).to_be_visible()
    page.click("#take summary")
    page.select_option("#figure", "map")
    with page.expect_download() as saved:
        page.locator("#downloads [data-kind=json]").click()
    found = json.loads(saved.value.path().read_text())
    assert np.shape(found["weights"]) == (256, 256)
    assert (found["queries"], found["largest_of_block"]) == ([0, 2048], 8)


def test_a_windowed_map_and_its_head_view_are_whole_after_a_click(page: Page) -> None:
    page.fill("#text", LONG)
    settled(page)
    page.locator("#tokens [role=option]").nth(1500).click()
    expect(page.locator("#headview [data-side=query] text").first).to_be_visible()
    expect(page.locator(f"#map {DRAWN}")).to_be_visible()
    expect(page.locator("#headview path")).not_to_have_count(0)


def test_a_window_that_is_not_looked_at_any_more_is_given_up(page: Page) -> None:
    type_text(page, LONG)
    page.route("**/attention", lambda route: None if windows(route.request) else route.continue_())
    go = """key => { for (let i = 0; i < 150; i += 1)
        document.querySelector("#map canvas").dispatchEvent(new KeyboardEvent("keydown", {key, shiftKey: true})); }"""
    with page.expect_request(lambda request: windows(request) is not None) as asked:
        page.evaluate(go, "ArrowDown")
    with page.expect_event("requestfailed", lambda request: request == asked.value):
        page.evaluate(go, "ArrowUp")
    expect(page.locator(f"#map {DRAWN}")).to_be_visible()


def test_the_pointer_that_leaves_the_map_or_the_head_view_lets_the_token_go(page: Page) -> None:
    nothing = page.locator("#focus-lists .note")
    page.locator("#map canvas").hover()
    expect(page.locator("#focus-lists table")).to_have_count(2)
    page.mouse.move(2, 2)
    expect(nothing).to_contain_text("Hover or choose a token")
    expect(page.locator("#map .readout")).to_be_empty()
    page.locator("#headview [data-side=query]").nth(2).hover()
    expect(page.locator("#focus-lists table")).to_have_count(2)
    page.mouse.move(2, 2)
    expect(nothing).to_contain_text("Hover or choose a token")


def test_a_token_in_focus_has_curves_to_what_it_attends_to_and_from_who_attends_to_it(page: Page, site: Server) -> None:
    asked = {"text": "I love programming", "layers": [-1], "heads": [0], "return": ["weights"]}
    weights = np.array(site.post("/attention", asked)["results"][0]["layers"][0]["weights"][0])
    page.locator("#tokens [role=option]").nth(2).hover()
    for values, colour in ((weights[2], "#e8590c"), (weights[:, 2], "#1c7ed6")):
        shown = int((values >= min(0.02, values.max() / 10)).sum())
        expect(page.locator(f"#headview path[stroke='{colour}']")).to_have_count(shown)


def test_a_row_of_equal_weights_is_shown_however_long_it_is(modules: Page) -> None:
    found = run(modules, "text/weights.js", "m.strongest(Array(2048).fill(1 / 2048)).length")
    assert found == 5
    expression = (
        "m.headView({queries: ['a'], keys: Array(36).fill('b'), weight: () => 1 / 2048, focus: null, label: 'x', colour: '#000000'})"
        ".querySelectorAll('path').length"
    )
    assert run(modules, "draw/headview.js", expression) == 36


def test_blocks_are_told_by_the_cell_that_is_furthest_from_zero(modules: Page) -> None:
    found = run(modules, "draw/source.js", "[...m.pooled([1, 2, 3, 4, -9, 6, 7, 8, 0], 3, 3, 2)]")
    assert found == [-9, 6, 8, 0]


def test_who_wants_what_is_under_way_waits_for_it(modules: Page) -> None:
    expression = """await (async () => {
        let answer; const asked = [];
        const source = new m.Source(256, 256, (...window) => (asked.push(window), new Promise(resolve => { answer = resolve; })));
        const both = [source.want(0, 9, 0, 9), source.want(0, 99, 0, 99)];
        answer(new Float32Array(65536).fill(7));
        return [await Promise.all(both), asked.length, source.get(3, 3)];
    })()"""
    assert run(modules, "draw/source.js", expression) == [[True, True], 1, 7]


def test_a_request_is_given_up_when_the_last_who_wanted_it_left(modules: Page) -> None:
    expression = """await (async () => {
        let signal;
        const source = new m.Source(256, 256, (q0, q1, k0, k1, given) => (signal = given, new Promise((_, reject) => given.onabort = () => reject(new Error("given up")))));
        const [a, b] = [new AbortController(), new AbortController()];
        const both = [a, b].map(one => source.want(0, 9, 0, 9, {signal: one.signal}).catch(error => error.message));
        const after = [];
        for (const one of [a, b]) { one.abort(); after.push(signal.aborted); }
        return [...after, ...await Promise.all(both)];
    })()"""
    assert run(modules, "draw/source.js", expression) == [False, True, "given up", "given up"]


def test_a_map_takes_the_colours_of_the_system_when_they_change(page: Page) -> None:
    pixels = "document.querySelector('#map canvas').toDataURL()"
    light = page.evaluate(pixels)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => {pixels} !== light", arg=light)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"light => {pixels} === light", arg=light)


def test_what_takes_keys_is_not_called_a_picture(page: Page) -> None:
    assert page.locator("canvas[tabindex]:not([role=application])").count() == 0
    expect(page.get_by_role("application", name="Arrow keys move")).to_be_visible()


def test_plots_are_as_wide_as_their_place_and_readable_on_a_phone(page: Page) -> None:
    for wide in (360, 1600):
        page.set_viewport_size({"width": wide, "height": 900})
        page.wait_for_function(
            """() => { const plot = document.querySelector("#order-plot svg");
            return Math.abs(plot.getBoundingClientRect().width - plot.parentElement.clientWidth) < 2; }"""
        )
        seen = page.evaluate(
            "(plot => plot.getBoundingClientRect().width / plot.viewBox.baseVal.width)(document.querySelector('#order-plot svg'))"
        )
        assert seen == pytest.approx(1, abs=0.01)


def test_the_marks_of_a_plot_do_not_overlap_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 900})
    page.wait_for_function("document.querySelector('#order-plot svg').viewBox.baseVal.width < 360")
    boxes = page.evaluate(
        """[...document.querySelectorAll("#order-plot text[text-anchor=middle][font-size='13']")]
        .map(e => e.getBoundingClientRect()).map(b => [b.left, b.right]).sort((a, b) => a[0] - b[0])"""
    )
    assert boxes
    assert all(right <= left for (_, right), (left, _) in pairwise(boxes))


def test_a_long_text_shows_the_alternatives_that_were_asked_for_once(page: Page, site: Server) -> None:
    type_text(page, LONG)
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "alternatives" in (request.post_data or "") else None
    )
    for at in (5, 6, 7):
        page.locator("#tokens [role=option]").nth(at).click()
    expect(page.locator("#alternatives h3 small")).to_contain_text("token 7")
    expect(page.locator("#alternatives tbody tr")).not_to_have_count(0)
    assert len(asked) == 1
