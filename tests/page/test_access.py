"""For everybody: assistive technology, keyboard alone, a phone, the dark, two languages."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.page.opening import DRAWN, Opener, settled
from tests.serving import Server

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def serious(page: Page) -> list[str]:
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": TAGS}})
    return [
        f"{one['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_text_tab(opened: Opener, shade: str) -> None:
    page = opened(compare="heads", token=2)
    if shade == "dark":
        page.click("#theme")
    expect(page.locator("#compare-says")).to_contain_text("KL")
    page.click("#take summary")
    page.locator("#order-best summary").click()
    page.wait_for_timeout(300)  # the fade of what was busy
    assert serious(page) == []


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_tensor_tab(opened: Opener, shade: str) -> None:
    page = opened(wait=False, tab="tensors", losses="guided;entropy")
    if shade == "dark":
        page.click("#theme")
    expect(page.locator(f"#tensor-map {DRAWN}")).to_be_visible()
    assert serious(page) == []


def test_all_is_reached_and_done_by_keyboard(page: Page) -> None:
    page.locator("#tokens [role=option]").first.focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#alternatives h3")).to_contain_text("love")
    page.locator("#grid button[aria-pressed=true]").focus()
    for key in ("ArrowUp", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#map-name")).to_have_text("Attention of layer 4, head 1")
    page.locator("#tab-text").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#panel-tensors")).to_be_visible()
    expect(page.locator("#tab-tensors")).to_be_focused()


def test_the_skip_link_leads_to_the_content_and_keeps_what_is_on_screen(opened: Opener) -> None:
    page = opened(text="still here")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#text")).to_have_value("still here")


def test_every_control_has_a_name(page: Page) -> None:
    page.click("#take summary")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, textarea, canvas, svg[role=img], [role=option]")]
        .filter(e => e.checkVisibility() && !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim() || e.closest("label")))
        .map(e => e.outerHTML.slice(0, 100))"""
    )
    assert unnamed == []


@pytest.mark.parametrize("tab", ["text", "tensors"])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, site: Server, tab: str) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740}, device_scale_factor=2, has_touch=True)
    page.goto(f"http://127.0.0.1:{site.port}/#tab={tab}&compare=heads")
    expect(page.locator(f"#{'map' if tab == 'text' else 'tensor-map'} {DRAWN}")).to_be_visible(timeout=10_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


def test_names_in_the_head_view_are_read_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_function("document.querySelector('#headview svg').viewBox.baseVal.width < 360")
    heights = page.locator("#headview text").evaluate_all("all => all.map(e => e.getBoundingClientRect().height)")
    assert min(heights) > 12


def test_the_interface_is_chinese_where_that_is_preferred_or_chosen(browser: Browser, site: Server) -> None:
    page = browser.new_page(locale="zh-CN")
    page.goto(f"http://127.0.0.1:{site.port}/")
    expect(page.locator("#tab-text")).to_have_text("文本")
    settled_in_chinese = page.locator("#order-says")
    expect(settled_in_chinese).to_have_text("给定词序在 6 个中最可能。", timeout=10_000)
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.select_option("#language", "en")
    settled(page)
    expect(page.locator("#tab-text")).to_have_text("Text")
    page.close()


def test_no_english_is_left_in_the_chinese_interface(page: Page) -> None:
    page.select_option("#language", "zh")
    expect(page.locator("#order-says")).to_have_text(re.compile("词序"))
    words = page.evaluate(
        """() => [...document.querySelectorAll("[data-i18n]")].map(e => e.textContent)
        .filter(text => /[A-Za-z]{4,}/.test(text) && !/[\\u4e00-\\u9fff]/.test(text))"""
    )
    assert words == []


def test_dark_follows_the_system_and_the_button(browser: Browser, site: Server) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(f"http://127.0.0.1:{site.port}/")
    expect(page.locator("html")).to_have_attribute("data-shade", "dark")
    page.click("#theme")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-shade", "light")
    page.close()
