"""The API key: which one can be sent, and where it is kept."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.opening import Opener, settled

KEY = "r!ght-~KEY_0/+="


@pytest.fixture
def console() -> Iterator[list[str]]:
    """Chromium itself notes every answer that is no success; nothing else may be said."""
    wrong: list[str] = []
    yield wrong
    assert [line for line in wrong if not line.startswith("Failed to load resource")] == []


@pytest.fixture
def guarded(opened: Opener) -> Opener:
    """A service that answers only to the key."""
    problem = json.dumps({"title": "Unauthorized", "status": 401, "detail": "A key is needed."})

    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == f"Bearer {KEY}":
            return route.continue_()
        return route.fulfill(status=401, content_type="application/problem+json", body=problem)

    for path in ("loss", "attention", "models", "losses"):
        opened.context.route(f"**/{path}", guard)
    return opened


def give(page: Page, key: str) -> None:
    page.get_by_label("API key", exact=True).fill(key)
    page.keyboard.press("Enter")


@pytest.mark.parametrize("wrong", ["ключ", "密钥", "a b", "caf\u00e9", "zero\u200bwidth"])
def test_a_key_that_no_header_can_carry_is_refused_in_the_dialog(guarded: Opener, wrong: str) -> None:
    page = guarded(wait=False)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("wants an API key")
    give(page, wrong)
    expect(dialog).to_contain_text("only letters, digits and signs of ASCII")
    give(page, f"  {KEY}  ")
    settled(page)
    expect(dialog).to_be_hidden()


def test_a_broken_key_that_a_tab_still_holds_is_dropped(guarded: Opener) -> None:
    page = guarded(wait=False)
    page.evaluate("sessionStorage.setItem('attnloss-key', 'ключ')")
    page.reload()
    expect(page.get_by_role("dialog")).to_contain_text("wants an API key")
    give(page, KEY)
    settled(page)


def test_without_storage_the_page_works_and_holds_the_key_itself(guarded: Opener) -> None:
    for name in ("sessionStorage", "localStorage"):
        guarded.context.add_init_script(
            f"Object.defineProperty(window, '{name}', {{get() {{ throw new DOMException('no', 'SecurityError'); }}}})"
        )
    page = guarded(wait=False)
    give(page, KEY)
    settled(page)
    page.click("#tab-tensors")
    expect(page.locator("#tensor-status")).to_contain_text("ms ·")


def test_both_tabs_work_with_an_accepted_key_until_the_tab_closes(guarded: Opener) -> None:
    page = guarded(wait=False)
    give(page, KEY)
    settled(page)
    page.click("#tab-tensors")
    expect(page.locator("#tensor-status")).to_contain_text("ms ·")
    page.wait_for_url("**tab=tensors")
    page.reload()
    expect(page.locator("#tensor-status")).to_contain_text("ms ·")
    other = guarded(wait=False)
    expect(other.get_by_role("dialog")).to_contain_text("wants an API key")
