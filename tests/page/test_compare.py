"""Two heads, two texts, two models side by side."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.page.opening import DRAWN, Opener
from tests.serving import Server

TEXT = "I love programming"


def divergence(page: Page) -> float:
    says = page.locator("#compare-says")
    expect(says).to_have_text(re.compile(r"KL\(A‖B\) = "))
    found = re.search(r"= ([\d.]+) nats", says.inner_text())
    assert found
    return float(found[1])


def test_two_heads_have_the_kl_that_the_service_gives(page: Page, site: Server) -> None:
    page.get_by_text("Two heads").click()
    page.select_option("#layer2", "2")
    page.select_option("#head2", "0")
    expect(page.locator("#name-b")).to_have_text("B: default, layer 2, head 0")
    asked = {"text": TEXT, "teacher": "default", "student": "default", "layers": [[5, 2]]}
    expected = site.post("/loss", asked)["results"][0]["pairs"][0]["losses"]["kl"][0]
    assert divergence(page) == pytest.approx(expected, rel=2e-3)
    expect(page.locator(f"#map-a {DRAWN}")).to_be_visible()
    expect(page.locator(f"#map-b {DRAWN}")).to_be_visible()
    expect(page.locator("#compare-kl rect")).to_have_count(4)


def test_two_texts_of_as_many_tokens_have_a_kl_and_their_losses(page: Page) -> None:
    page.get_by_text("Two texts").click()
    expect(page.locator("#compare-says")).to_contain_text("Type a second text")
    page.fill("#text2", "I love music")
    assert divergence(page) > 0
    expect(page.locator("#compare-numbers tbody tr").first).to_contain_text("8.168")


def test_two_texts_of_other_lengths_say_why_they_have_no_kl(opened: Opener) -> None:
    page = opened(compare="texts", text2="I love")
    expect(page.locator("#compare-says")).to_contain_text("4 and 3 queries")
    expect(page.locator(f"#map-b {DRAWN}")).to_be_visible()


def test_two_models_that_read_other_tokens_say_so(opened: Opener) -> None:
    page = opened(compare="models", model2="t5", head2=0)
    expect(page.locator("#compare-says")).to_contain_text("no KL")
    page.select_option("#model2", "default")
    assert divergence(page) == 0
    expect(page.locator("#compare-numbers tbody tr")).to_have_count(4)
