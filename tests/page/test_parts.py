"""The parts of the text tab: each is busy, fails and recovers for itself."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.page.opening import DRAWN, Opener, settled, type_text

LONG = "The cat sat on the mat because it was tired, and nobody knew why. " * 150


@pytest.fixture
def console() -> Iterator[list[str]]:
    """Chromium itself notes every answer that is no success; nothing else may be said."""
    wrong: list[str] = []
    yield wrong
    assert [line for line in wrong if not line.startswith("Failed to load resource")] == []


def sent(request: Request) -> str:
    return request.post_data or ""


def refuse(page: Page, needle: str, status: int = 422, **headers: str) -> None:
    """The next request that holds this is refused."""
    left = [True]
    body = {"type": "x", "title": "t", "status": status, "detail": "Not this.", "request_id": "r"}

    def handle(route: Route) -> None:
        if needle in sent(route.request) and left and left.pop():
            own = {"content-type": "application/problem+json", **headers}
            route.fulfill(status=status, headers=own, body=json.dumps(body))
        else:
            route.fallback()

    page.route("**/*", handle)


def stall(page: Page, needle: str) -> Callable[[], None]:
    """Requests that hold this wait until the function that is given back is called."""
    held: list[Route] = []
    open_ = [False]

    def handle(route: Route) -> None:
        if needle in sent(route.request) and not open_[0]:
            held.append(route)
        else:
            route.fallback()

    def release() -> None:
        open_[0] = True
        for route in held:
            route.continue_()

    page.route("**/*", handle)
    return release


FAILING: dict[str, tuple[str, Callable[[Page], object], Callable[[Page], object]]] = {
    "grid": (
        '"renyi"',
        lambda page: page.select_option("#measure", "renyi"),
        lambda page: page.select_option("#measure", "sink"),
    ),
    "order": (
        '"order"',
        lambda page: page.click("#order-again"),
        lambda page: page.click("#order-again"),
    ),
    "compare": (
        '"heads":[1]',
        lambda page: page.get_by_text("Two heads").click(),
        lambda page: page.get_by_text("Nothing", exact=True).click(),
    ),
    "map": (
        '"layers":[2]',
        lambda page: page.get_by_role("button", name="Layer 2, head 1").click(),
        lambda page: page.get_by_role("button", name="Layer 3, head 1").click(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("part", FAILING)
def test_a_failure_goes_when_its_part_is_asked_for_again(page: Page, part: str) -> None:
    needle, fail, mend = FAILING[part]
    refuse(page, needle)
    done = page.locator("#text-status").inner_text()
    fail(page)
    expect(page.locator(f"#{part}-failure")).to_contain_text("Not this.")
    expect(page.locator("#text-status")).to_have_text(done)
    mend(page)
    expect(page.locator(f"#{part}-failure")).to_be_empty()
    settled(page)


def test_alternatives_that_fail_say_so_beside_the_tokens_and_can_be_had_again(page: Page) -> None:
    type_text(page, LONG)
    refuse(page, '"alternatives"', 500)
    page.locator("#tokens [role=option]").nth(4).click()
    expect(page.locator("#alternatives-failure")).to_contain_text("Not this.")
    expect(page.locator("#text-failure")).to_be_empty()
    page.locator("#alternatives-failure button").click()
    expect(page.locator("#alternatives tbody tr")).not_to_have_count(0)
    expect(page.locator("#alternatives-failure")).to_be_empty()


def test_numbers_of_another_loss_do_not_stay_under_the_name_of_one_that_failed(page: Page) -> None:
    refuse(page, '"renyi"')
    page.select_option("#measure", "renyi")
    expect(page.locator("#grid-failure")).to_contain_text("Not this.")
    expect(page.locator("#grid button")).to_have_count(0)
    page.click("#take summary")
    assert "heads" not in page.locator("#figure option").evaluate_all("all => all.map(one => one.value)")
    page.locator("#grid-failure button").click()
    expect(page.locator("#grid button").first).to_have_attribute("aria-label", re.compile("Layer 0, head 0: renyi "))


def test_listed_keys_of_too_few_queries_are_told_and_can_be_mended(page: Page) -> None:
    page.select_option("#measure", "cross_entropy")
    page.select_option("#measure-params [name=target]", "list")
    keys = page.locator("#measure-params [name=keys]")
    for given, wrong in (("0 1", "target"), ("0 1 x 2", "target"), ("0 0 1 1", "")):
        keys.fill(given)
        keys.blur()
        expect(page.locator("#grid-failure")).to_contain_text(wrong)
    expect(page.locator("#grid-failure")).to_be_empty()
    expect(page.locator("#grid button")).to_have_count(18)


def test_a_slow_part_leaves_the_others_clear(page: Page) -> None:
    release = stall(page, '"order"')
    page.fill("#text", "one two three four")
    expect(page.locator("#tokens [role=option]").last).to_contain_text("four")
    expect(page.locator("#text-results")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#order-card")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#map-card")).to_have_attribute("aria-busy", "false")
    release()
    expect(page.locator("#order-card")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#order-plot svg")).to_be_visible()


def test_what_is_on_screen_stays_marked_as_old_until_the_new_text_is_scored(page: Page) -> None:
    release_parts = stall(page, '"order"')
    page.fill("#text", "one two three four")
    expect(page.locator("#order-card")).to_have_attribute("aria-busy", "true")
    release = stall(page, "five")
    page.fill("#text", "one two three four five")
    release_parts()
    expect(page.locator("#order-card")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#text-results")).to_have_attribute("aria-busy", "true")
    release()
    settled(page)


def test_a_busy_service_is_told_while_a_window_of_a_map_waits(page: Page) -> None:
    type_text(page, LONG)
    done = page.locator("#text-status").inner_text()
    refuse(page, '"queries":[1', 503, **{"retry-after": "1"})
    page.evaluate("""() => { const canvas = document.querySelector("#map canvas");
        for (let i = 0; i < 150; i += 1) canvas.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowDown", shiftKey: true})); }""")
    expect(page.locator("#text-status")).to_contain_text("Trying again in 1 s")
    expect(page.locator("#text-status")).to_have_text(done)
    expect(page.locator(f"#map {DRAWN}")).to_be_visible()


def test_models_that_are_loading_are_asked_for_once_a_second_however_much_is_typed(opened: Opener) -> None:
    asked: list[str] = []

    def loading(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body='{"models": [{"name": "default", "state": "loading"}]}', content_type="application/json")

    opened.context.route("**/models", loading)
    page = opened(wait=False)
    expect(page.locator("#text-status")).to_contain_text("is being loaded")
    for text in ("a", "b", "c", "d"):
        page.fill("#text", text)
        page.wait_for_timeout(300)
    before = len(asked)
    page.wait_for_timeout(2100)
    assert len(asked) - before <= 3
    opened.context.unroute("**/models")
    settled(page)
    expect(page.locator("#tokens [role=option]").last).to_have_text("d")
