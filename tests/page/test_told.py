"""What the text tab tells: of which token, why not, in which words and in which language."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.page.opening import Opener, run

DARK = "document.documentElement.dataset.shade"


def test_the_map_of_an_encoder_beside_a_target_is_driven_by_the_source(opened: Opener) -> None:
    page = opened(model="t5", target="so do I", site="encoder")
    source = page.locator("#source-tokens [role=option]")
    page.locator("#tokens [role=option]").nth(1).hover()
    expect(page.locator("#focus-lists table")).to_have_count(0)
    source.nth(1).hover()
    expect(page.locator("#focus-lists table")).to_have_count(2)
    page.locator("#map canvas").focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(source.nth(2)).to_have_attribute("aria-selected", "true")
    expect(page.locator("#tokens [aria-selected=true]")).to_have_count(0)
    page.locator("#tokens [role=option]").nth(1).click()
    expect(page.locator("#alternatives tbody tr")).not_to_have_count(0)
    expect(source.nth(2)).to_have_attribute("aria-selected", "true")


def test_maps_of_other_sources_have_no_kl_because_of_their_keys(opened: Opener) -> None:
    page = opened(model="t5", target="so do I", compare="texts", text2="I love")
    expect(page.locator("#compare-says")).to_contain_text("keys, so there is no KL")


def test_an_encoder_offers_no_orders_to_score(page: Page) -> None:
    page.select_option("#model", "bert")
    page.fill("#text", "many words " * 60)
    expect(page.locator("#order-says")).to_contain_text("causal")
    expect(page.locator("#order-run")).to_be_hidden()


def test_another_language_is_taken_by_every_part(page: Page) -> None:
    page.select_option("#measure", "cross_entropy")
    expect(page.locator("#measure-params label").first).to_contain_text("Target")
    page.select_option("#language", "zh")
    expect(page.locator("#measure-params label").first).to_contain_text("目标")
    for name in ("放大", "缩小", "适应"):
        expect(page.locator("#map").get_by_role("button", name=name)).to_be_visible()
    for part in ("#map .readout", "#focus-lists", "#alternatives", "#order-readout"):
        expect(page.locator(part)).not_to_have_text(re.compile("[a-z]"))


def test_no_text_is_told_in_the_language_that_is_chosen(page: Page) -> None:
    page.fill("#text", "")
    expect(page.locator("#text-status")).to_contain_text("Type a text")
    page.select_option("#language", "zh")
    expect(page.locator("#text-status")).to_have_text("请输入文本以查看注意力。")


@pytest.mark.parametrize(("share", "shown"), [(0, "0 %"), (1e-6, "<0.01 %"), (0.0123, "1.2 %"), (0.5, "50 %")])
def test_a_share_is_told_in_percent(modules: Page, share: float, shown: str) -> None:
    assert run(modules, "text/tokens.js", "m.percent(x)", share) == shown


def test_a_perplexity_that_is_not_there_is_not_infinite(modules: Page) -> None:
    found = run(
        modules,
        "text/tokens.js",
        "[[null, null], [800, null], [1, 2.7]].map(([loss, perplexity]) => m.perplexity({loss, perplexity}))",
    )
    assert found == ["not scored", "∞", "2.7"]


def test_a_picture_of_tokens_can_be_read_in_the_dark(page: Page) -> None:
    page.click("#theme")
    assert page.evaluate(DARK) == "dark"
    inks = page.evaluate(
        """async () => { const { tokensStill } = await import("/static/js/draw/stills.js");
        const chips = [...document.querySelectorAll("#tokens .special")];
        return [...tokensStill(chips).querySelectorAll("text")].map(e => e.getAttribute("fill")); }"""
    )
    assert inks == ["currentColor"]


def test_the_choices_of_a_comparison_stand_in_even_rows_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    boxes = page.locator("#compare-modes label").evaluate_all("all => all.map(e => [e.offsetLeft, e.offsetTop])")
    assert len({left for left, _ in boxes}) == 2
    assert len({top for _, top in boxes}) == 2
