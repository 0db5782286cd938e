"""The screenshots of docs/page.md: `python -m tools.screenshots [URL]`, by default of a server started for it."""

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "page"
PORT = 8765
READY_WITHIN_S = 120.0
SETTLED = "#text-results[aria-busy=false]:not(:has([aria-busy=true])) #map canvas[data-complete]"
TEXT = "Alice told Bob that Carol had seen him, and he told Alice that he had seen Carol."


@contextmanager
def served() -> Iterator[str]:
    """The address of a server of the default model."""
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(PORT), "--processes", "1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{PORT}/"
    try:
        give_up_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < give_up_s:
            time.sleep(0.3)
            try:
                with urllib.request.urlopen(f"{url}health/ready") as answer:
                    if b"loading" not in answer.read():
                        break
            except OSError:
                continue
        yield url
    finally:
        server.terminate()
        server.wait()


def shoot(browser: Browser, url: str, name: str, *, wide: int, high: int, dark: bool = False, **state: str) -> None:
    """One picture, taken once all of it is drawn."""
    page = browser.new_page(viewport={"width": wide, "height": high}, color_scheme="dark" if dark else "light")
    page.goto(f"{url}#{urlencode(state)}")
    tensors = state.get("tab") == "tensors"
    page.wait_for_selector("#tensor-map canvas[data-complete]" if tensors else SETTLED, timeout=30_000)
    if state.get("compare"):
        page.wait_for_selector("#map-b canvas[data-complete]")
        page.locator("#compare-card").scroll_into_view_if_needed()
        page.evaluate("document.getElementById('compare-card').scrollIntoView()")
    page.wait_for_timeout(600)
    page.screenshot(path=FOLDER / f"{name}.png")
    page.close()


def main(url: str) -> None:
    """All of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        shoot(browser, url, "text", wide=1360, high=1560, text=TEXT, token="15", layer="2", head="0")
        shoot(browser, url, "compare", wide=1360, high=1000, dark=True, compare="heads", text="The cat sat on the mat")
        shoot(browser, url, "tensors", wide=1360, high=1330, tab="tensors", losses="guided;entropy")
        shoot(browser, url, "phone", wide=390, high=1500)
        browser.close()


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1])
    else:
        with served() as address:
            main(address)
