"""Opening the page and waiting until it has drawn what it was asked."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import BrowserContext, Page, expect

PATIENCE_MS = 15_000
DRAWN = "canvas[data-complete]"


@dataclass(frozen=True)
class Opener:
    context: BrowserContext
    base: str

    def __call__(self, *, wait: bool = True, **state: Any) -> Page:
        page = self.context.new_page()
        page.goto(self.base + (f"#{urlencode(state)}" if state else ""))
        if wait:
            settled(page)
        return page


def settled(page: Page) -> None:
    """Until the text's answer and all of its parts are there."""
    expect(page.locator("#text-results")).to_have_attribute("aria-busy", "false", timeout=PATIENCE_MS)
    expect(page.locator("#text-results [aria-busy=true]")).to_have_count(0, timeout=PATIENCE_MS)
    expect(page.locator("#text-status")).to_have_text(re.compile(r"ms ·"))
    expect(page.locator(f"#map {DRAWN}")).to_be_visible()


def metric(page: Page, name: str) -> float:
    return float(page.locator(f"[data-metric={name}]:visible dd").inner_text().split()[0].replace(",", ""))


def type_text(page: Page, text: str) -> None:
    """Type and wait until it was scored."""
    page.fill("#text", text)
    settled(page)


def tokens(page: Page, of: str = "#tokens") -> list[str]:
    return page.locator(f"{of} [role=option]").all_inner_texts()


def run(modules: Page, module: str, expression: str, argument: Any = None) -> Any:
    """The expression with the module's exports as `m` and the argument as `x`."""
    return modules.evaluate(
        f"async x => {{ const m = await import('/static/js/{module}'); return {expression}; }}", argument
    )
