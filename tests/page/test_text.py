"""The text tab, as a person uses it."""

import math
import re

import pytest
from playwright.sync_api import Page, expect

from tests.page.opening import Opener, metric, settled, tokens, type_text
from tests.serving import Server

TEXT = "I love programming"


def test_it_opens_with_a_text_scored_and_drawn(page: Page, site: Server) -> None:
    expected = site.post("/loss", {"text": TEXT})["results"][0]
    assert tokens(page) == [token.replace(" ", "·") for token in expected["tokens"]]
    assert metric(page, "loss") == pytest.approx(expected["loss"], abs=1e-3)
    assert metric(page, "bits") == pytest.approx(expected["bits_per_byte"], abs=1e-3)
    assert metric(page, "perplexity") == pytest.approx(expected["perplexity"], rel=1e-3)
    expect(page.locator("#grid button")).to_have_count(18)
    expect(page.locator("#order-says")).to_have_text("The given order is the likeliest of 6.")


def test_what_is_typed_is_scored_at_once(page: Page) -> None:
    type_text(page, "The cat sat on the mat")
    assert tokens(page)[-1] == "·mat"
    assert metric(page, "loss") < 6


def test_the_last_of_many_keystrokes_wins(page: Page) -> None:
    page.locator("#text").fill("")
    page.locator("#text").press_sequentially("Good morning everyone", delay=12)
    expect(page.locator("#tokens [role=option]").last).to_contain_text("one")
    settled(page)
    assert "".join(tokens(page)[1:]) == "Good·morning·everyone"


def test_a_token_that_is_clicked_shows_its_alternatives(page: Page, site: Server) -> None:
    expected = site.post("/loss", {"text": TEXT, "return": ["alternatives"], "top_k": 1})["results"][0]["alternatives"]
    page.locator("#tokens [role=option]").nth(1).click()
    first = page.locator("#alternatives tbody tr").first
    expect(first.locator("th")).to_have_text(expected[1][0]["token"])
    expect(first.locator("td")).to_contain_text(f"{100 * math.exp(expected[1][0]['log_prob']):.2g} %")
    expect(page.locator("#alternatives tr.given th")).to_have_text("I")
    expect(page.locator("#tokens [aria-selected=true]")).to_have_text("I")


def test_a_head_that_is_clicked_shows_its_map(page: Page, site: Server) -> None:
    asked = {"text": TEXT, "layers": [2], "heads": [1], "return": ["weights"]}
    expected = site.post("/attention", asked)["results"][0]["layers"][0]["weights"][0]
    page.get_by_role("button", name="Layer 2, head 1").click()
    expect(page.locator("#map-name")).to_have_text("Attention of layer 2, head 1")
    page.locator("#map canvas").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator("#map .readout")).to_contain_text(f"{100 * expected[2][1]:.0f} %")


def test_a_cell_under_the_pointer_says_what_it_is(page: Page) -> None:
    canvas = page.locator("#map canvas")
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": box["width"] - 5, "y": box["height"] - 5})
    expect(page.locator("#map .readout")).to_have_text(
        re.compile(r"“·programming” \(3\) gives “·programming” \(3\) \d")
    )


def test_a_token_under_the_pointer_shows_where_it_attends_and_who_attends_to_it(page: Page) -> None:
    curves = page.locator("#headview path")
    before = curves.count()
    page.locator("#tokens [role=option]").nth(2).hover()
    expect(page.locator("#focus-lists table.out tr").first).to_contain_text("<|text|>")
    expect(page.locator("#focus-lists table.in")).to_contain_text("programming")
    assert 0 < curves.count() < before
    assert "inset" in (page.locator("#tokens [role=option]").first.get_attribute("style") or "")


def test_the_head_view_follows_the_pointer(page: Page) -> None:
    page.locator("#headview [data-side=key][data-at='0']").hover()
    expect(page.locator("#focus-lists table.in tr")).to_have_count(4)


@pytest.mark.parametrize("name", ["sink", "distance", "cross_entropy", "disagreement", "permutation"])
def test_the_grid_is_coloured_by_any_loss(page: Page, name: str) -> None:
    with page.expect_response(
        lambda response: f'"losses":[{{"name":"{name}"' in (response.request.post_data or "")
    ) as answered:
        page.select_option("#measure", name)
    value = answered.value.json()["results"][0]["layers"][3]["losses"][name]
    number = value[1] if isinstance(value, list) else value
    cell = page.locator("#grid [data-layer='3'][data-head='1']")
    expect(cell).to_have_attribute("aria-label", re.compile(rf"Layer 3, head 1: {name} {str(f'{number:.3g}')[:3]}"))


def test_parameters_of_a_loss_can_be_set(page: Page) -> None:
    page.select_option("#measure", "renyi")
    with page.expect_request(lambda request: request.url.endswith("/loss")) as asked:
        page.fill("#measure-params [name=alpha]", "3")
        page.locator("#measure-params [name=alpha]").blur()
    assert asked.value.post_data_json["losses"] == [{"name": "renyi", "alpha": 3}]


def test_the_keys_of_a_target_can_be_listed(page: Page, site: Server) -> None:
    page.select_option("#measure", "cross_entropy")
    page.select_option("#measure-params [name=target]", "list")
    keys = page.locator("#measure-params [name=keys]")
    expect(keys).to_have_value("0 0 1 2")
    with page.expect_response(lambda response: "[0,0,0,3]" in (response.request.post_data or "")) as answered:
        keys.fill("0, 0, 0, 3")
        keys.blur()
    asked = {"text": TEXT, "losses": [{"name": "cross_entropy", "target": [0, 0, 0, 3]}], "return": []}
    expected = site.post("/loss", asked)["results"][0]["layers"][0]["losses"]
    assert answered.value.json()["results"][0]["layers"][0]["losses"] == expected


def test_every_loss_that_is_offered_is_answered(page: Page) -> None:
    names = page.locator("#measure option").all_inner_texts()
    assert len(names) > 18
    for name in names:
        page.select_option("#measure", name)
        expect(page.locator("#grid button").first).to_have_attribute("aria-label", re.compile(f": {name} "))
        expect(page.locator("#grid-failure")).to_be_empty()


def test_other_orders_are_a_strip_plot(page: Page) -> None:
    expect(page.locator("#order-plot circle.dot")).to_have_count(5)
    page.locator("#order-plot circle.dot").first.hover()
    expect(page.locator("#order-readout")).to_contain_text("nats")
    page.locator("#order-best summary").click()
    expect(page.locator("#order-best li").first).to_contain_text(TEXT)


def test_an_encoder_decoder_is_aligned_by_its_cross_attention(page: Page) -> None:
    page.select_option("#model", "t5")
    expect(page.locator("#metrics .note")).to_contain_text("Type a target")
    page.fill("#target", "so do I")
    expect(page.locator("#alignment-list tbody tr")).to_have_count(9)
    assert tokens(page, "#source-tokens")
    expect(page.locator("#site")).to_have_value("cross")
    page.locator("#tokens [role=option]").nth(2).hover()
    expect(page.locator("#focus-lists table.out tr")).not_to_have_count(0)
    page.select_option("#site", "decoder")
    expect(page.locator("#map-name")).to_be_visible()
    expect(page.locator("#text-failure")).to_be_empty()


def test_an_encoder_shows_its_attention_without_token_losses(page: Page) -> None:
    page.select_option("#model", "bert")
    expect(page.locator("#metrics .note")).to_contain_text("no token losses")
    expect(page.locator("#grid button")).to_have_count(10)
    expect(page.locator("#order-says")).to_contain_text("causal")


@pytest.mark.parametrize(
    "text",
    [
        "Thé naïve café 👩‍👩‍👧 costs 3 €",
        "שלום עולם مرحبا",
        "e\u0301 q\u0323\u0307 ﷽",
        "  \n\t\n ",
        "\u0000\u0007 x",
        "💩" * 30,
    ],
)
def test_any_text_is_shown(opened: Opener, text: str) -> None:
    page = opened(text=text)
    assert len(tokens(page)) > 1
    expect(page.locator("#text-failure")).to_be_empty()


def test_half_a_surrogate_pair_is_replaced_and_told(page: Page) -> None:
    page.evaluate("""() => { const box = document.getElementById("text"); box.value = "a \\ud83d b";
        box.dispatchEvent(new Event("input")); }""")
    expect(page.locator("#text-status")).to_contain_text("�")
    assert any("�" in token for token in tokens(page))


def test_no_text_asks_for_one(page: Page) -> None:
    page.fill("#text", "")
    expect(page.locator("#text-status")).to_have_text("Type a text to see its attention.")
    expect(page.locator("#text-results")).to_be_hidden()
    type_text(page, "back again")
    expect(page.locator("#text-results")).to_be_visible()


def test_the_caret_lights_the_token_that_it_is_in(page: Page) -> None:
    type_text(page, "👩 love is love")
    at = page.evaluate('document.getElementById("text").value.lastIndexOf("love") + 2')
    page.evaluate(
        'at => { const box = document.getElementById("text"); box.focus(); box.setSelectionRange(at, at); }', at
    )
    last = len(tokens(page)) - 1
    expect(page.locator("#headview [data-side=query]").nth(last).locator("rect")).to_have_attribute(
        "fill-opacity", "0.450"
    )
