"""What the page says and does when the service refuses, is not ready, or is not there."""

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.opening import Opener, settled, tokens, type_text


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Callable[[Route], None]:
    body = {"type": "x", "title": "t", "status": status, "detail": detail, "request_id": "r"}
    own = {"content-type": "application/problem+json", **(headers or {})}
    return lambda route: route.fulfill(status=status, headers=own, body=json.dumps(body))


@pytest.fixture
def console() -> Iterator[list[str]]:
    """Chromium itself notes every answer that is no success; nothing else may be said."""
    wrong: list[str] = []
    yield wrong
    assert [line for line in wrong if not line.startswith("Failed to load resource")] == []


def test_too_much_says_the_limit_and_what_to_do(page: Page) -> None:
    page.route("**/loss", problem(413, "The job costs 9 score elements, the limit is 8; send fewer texts."))
    page.fill("#text", "too long")
    failure = page.locator("#text-failure")
    expect(failure).to_contain_text("Too much at once")
    expect(failure).to_contain_text("the limit is 8")
    expect(failure).to_contain_text("Shorten the text")
    page.unroute("**/loss")
    failure.get_by_role("button").click()
    settled(page)
    expect(failure).to_be_empty()


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_or_starting_service_is_asked_again_when_it_says(page: Page, status: int) -> None:
    page.route("**/loss", problem(status, "Not now.", {"retry-after": "1"}), times=1)
    page.fill("#text", "again please")
    expect(page.locator("#text-status")).to_contain_text("Trying again in 1 s")
    settled(page)
    assert tokens(page)[-1] == "·please"


def test_a_service_that_stays_away_is_told_with_advice(page: Page) -> None:
    page.route("**/loss", problem(503, "The model x could not be loaded."))
    page.fill("#text", "nothing")
    expect(page.locator("#text-failure")).to_contain_text("could not be loaded")
    expect(page.locator("#text-failure")).to_contain_text("choose another model")


def test_no_network_loses_nothing_and_recovers(page: Page) -> None:
    page.route("**/loss", lambda route: route.abort(), times=1)
    page.fill("#text", "still here")
    expect(page.locator("#text-status")).to_contain_text("does not answer")
    settled(page)
    assert tokens(page)[-1] == "·here"


def test_what_took_too_long_is_not_asked_again_by_itself(opened: Opener) -> None:
    opened.context.add_init_script(
        "const limit = AbortSignal.timeout; AbortSignal.timeout = () => limit.call(AbortSignal, 300)"
    )
    asked: list[Route] = []
    opened.context.route("**/models", lambda route: asked.append(route))  # never answered
    page = opened(wait=False)
    expect(page.locator("#text-failure")).to_contain_text("The answer took too long", timeout=1500)
    page.wait_for_timeout(2500)
    assert len(asked) == 1


def test_a_model_that_is_loading_is_waited_for(opened: Opener) -> None:
    loading = json.dumps({"models": [{"name": "default", "state": "loading"}]})
    opened.context.route(
        "**/models", lambda route: route.fulfill(body=loading, content_type="application/json"), times=1
    )
    page = opened(wait=False)
    expect(page.locator("#text-status")).to_contain_text("is being loaded")
    settled(page)


def test_a_model_that_failed_cannot_be_chosen_and_a_link_to_it_says_why(opened: Opener) -> None:
    page = opened(wait=False, model="broken")
    expect(page.locator("#text-status")).to_contain_text("could not be loaded")
    expect(page.locator("#model option[value=broken]")).to_be_disabled()
    page.select_option("#model", "default")
    settled(page)


def test_a_server_without_models_points_to_the_tensors(opened: Opener) -> None:
    opened.context.route(
        "**/models", lambda route: route.fulfill(body='{"models": []}', content_type="application/json")
    )
    page = opened(wait=False)
    expect(page.locator("#text-status")).to_contain_text("no text models")
    page.click("#tab-tensors")
    expect(page.locator("#tensor-results")).to_be_visible()


def test_a_key_is_asked_for_once_sent_and_kept_in_the_tab(opened: Opener) -> None:
    seen: list[str | None] = []

    def guard(route: Route) -> None:
        given = route.request.headers.get("authorization")
        seen.append(given)
        route.continue_() if given == "Bearer right" else problem(401, "A key is needed.")(route)

    for path in ("loss", "attention", "models", "losses"):
        opened.context.route(f"**/{path}", guard)
    page = opened(wait=False)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("wants an API key")
    page.get_by_label("API key", exact=True).fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("did not accept")
    page.get_by_label("API key", exact=True).fill("right")
    page.keyboard.press("Enter")
    settled(page)
    assert {None, "Bearer wrong", "Bearer right"} == set(seen)
    assert page.evaluate("[sessionStorage.length, localStorage.getItem('attnloss-key')]") == [1, None]
    page.reload()
    settled(page)
    expect(dialog).to_be_hidden()
    page.click("#take summary")
    expect(page.locator("#snippet")).to_contain_text("Authorization: Bearer $ATTNLOSS_KEY")
    assert "right" not in page.locator("#snippet").inner_text().replace("copyright", "")


def test_a_key_that_is_not_given_is_told_and_can_be_given_later(opened: Opener) -> None:
    opened.context.route("**/loss", problem(401, "A key is needed."))
    page = opened(wait=False)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#text-failure")).to_contain_text("An API key is needed")
    opened.context.unroute("**/loss")
    page.locator("#text-failure").get_by_role("button").click()
    settled(page)


def test_markup_in_a_text_stays_text(page: Page) -> None:
    type_text(page, "<img src=x onerror=alert(1)> <b>bold</b>")
    assert page.locator("#text-results img, #text-results b").count() == 0
