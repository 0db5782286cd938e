"""The reference of the API at /docs, in a real browser, without a word to another host."""

from playwright.sync_api import Page, expect

from tests.page.opening import Opener


def reference(opened: Opener) -> Page:
    page = opened.context.new_page()
    page.goto(opened.base + "docs")
    expect(page.locator(".opblock").first).to_be_visible(timeout=20_000)
    return page


def test_every_path_of_the_document_is_shown(opened: Opener) -> None:
    page = reference(opened)
    document = page.evaluate("fetch('openapi.json').then(answer => answer.json())")
    operations = sum(len(methods) for methods in document["paths"].values())
    expect(page.locator(".opblock")).to_have_count(operations)


def test_an_example_can_be_sent_from_the_page(opened: Opener) -> None:
    page = reference(opened)
    attention = page.locator(".opblock", has=page.locator('[data-path="/attention"]'))
    attention.locator(".opblock-summary-control").click()
    attention.get_by_role("button", name="Try it out").click()
    attention.get_by_role("button", name="Execute").click()
    answered = attention.locator(".live-responses-table .response").first
    expect(answered).to_contain_text("200", timeout=20_000)
    expect(answered).to_contain_text("backend")
