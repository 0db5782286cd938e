"""A switch of language tells again whatever the page itself wrote."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from attnloss.registry import LOSSES
from tests.page.files import drop
from tests.page.opening import DRAWN, Opener

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def test_the_results_of_tensors_are_told_in_the_other_language(tab: Page) -> None:
    tab.select_option("#tensor-shown", "grad.query")
    tab.select_option("#language", "zh")
    expect(tab.locator("#tensor-shown option").first).to_have_text("权重")
    expect(tab.locator("#tensor-shown")).to_have_value("grad.query")
    expect(tab.locator("#tensor-status")).to_contain_text("毫秒")
    expect(tab.locator(f"#tensor-map {DRAWN}")).to_have_attribute("aria-label", "query 的梯度")
    assert tab.locator("#tensor-metrics dt").first.inner_text() == "总损失"
    for title in tab.locator("#tensor-losses label").evaluate_all("labels => labels.map(one => one.title)"):
        assert CHINESE.search(title), title
    tab.select_option("#language", "en")
    expect(tab.locator("#tensor-status")).to_contain_text(" ms ·")


@pytest.mark.parametrize(
    ("text", "english", "chinese"),
    [
        ("{", "This is not JSON", "不是有效的 JSON"),
        ("", "Paste JSON, drop a file, or take the example.", "请粘贴 JSON"),
        ('{"key": [[1]]}', "Expected an object with query and key.", "应为包含 query 与 key 的对象"),
    ],
)
def test_what_the_page_refuses_is_told_in_the_other_language(tab: Page, text: str, english: str, chinese: str) -> None:
    tab.fill("#tensor-json", text)
    expect(tab.locator("#tensor-failure")).to_contain_text(english)
    tab.select_option("#language", "zh")
    expect(tab.locator("#tensor-failure")).to_contain_text(chinese)


def test_what_is_wrong_with_a_file_is_told_in_the_other_language(tab: Page) -> None:
    drop(tab, ("x.npy", b"hello"))
    expect(tab.locator("#tensor-failure")).to_contain_text("x.npy is no .npy")
    tab.select_option("#language", "zh")
    expect(tab.locator("#tensor-failure")).to_contain_text("x.npy 不是 .npy")


def test_every_loss_and_parameter_is_told_in_chinese(opened: Opener) -> None:
    page = opened(wait=False)
    page.select_option("#language", "zh")
    specs = [
        {
            "name": spec.name,
            "summary": "",
            "formula": spec.formula,
            "parameters": [{"name": one.name, "help": ""} for one in spec.parameters],
        }
        for spec in LOSSES.values()
    ]
    told = page.evaluate(
        """async specs => { const m = await import("/static/js/losswords.js");
        return specs.map(m.inLanguage).map(one => JSON.parse(JSON.stringify(one))); }""",
        specs,
    )
    lacking = [(one["name"], each["name"]) for one in told for each in one["parameters"] if not each["help"]]
    assert lacking + [one["name"] for one in told if not one["summary"]] == []
    english = [one["formula"] for one in told if re.search(r"\b(mean|over|per|where|allowed|the)\b", one["formula"])]
    assert english == [], json.dumps(english)
