"""The page in a real Chromium, served by a real server; whatever it says on the console fails the test."""

import os
import shutil
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.page.opening import DRAWN, PATIENCE_MS, Opener
from tests.service.text.local import save_bert, save_t5
from tests.serving import Server, server_starter

READY_WITHIN_S = 90.0
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """Where the system's Chromium is; without one a developer's tests are skipped and those of CI fail."""
    found = os.environ.get("ATTNLOSS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    why = "no Chromium: install Debian's package `chromium`, or say where one is in ATTNLOSS_CHROMIUM"
    if os.environ.get("CI", "").lower() in ("", "0", "false"):
        pytest.skip(why)
    pytest.fail(why)


def all_loaded(server: Server) -> bool:
    """Ready, and no model is still on its way."""
    try:
        answer = server.client.get("/health/ready", timeout=5)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and "loading" not in answer.json()["models"].values()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the default model, an encoder-decoder, an encoder, and one that cannot be loaded."""
    models = tmp_path_factory.mktemp("models")
    with server_starter(tmp_path_factory) as start:
        t5, bert = save_t5(models / "t5"), save_bert(models / "bert")
        server = start(models=f"default,t5={t5},bert={bert},broken={models / 'broken'}", wait=False)
        give_up_s = time.monotonic() + READY_WITHIN_S
        while not all_loaded(server):
            assert time.monotonic() < give_up_s, server.log.read_text()
            time.sleep(0.1)
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the session: while it lasts, no other test of this thread could run an event loop.
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def modules(browser: Browser, site: Server) -> Page:
    """A page of the service's own, from which its modules can be imported."""
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{site.port}/static/icon.svg")
    return page


@pytest.fixture
def console(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """What went wrong in the page; a test that makes requests fail takes those lines out."""
    wrong: list[str] = []
    yield wrong
    assert wrong == []


@pytest.fixture
def opened(browser: Browser, site: Server, console: list[str]) -> Iterator[Opener]:
    """Opens the page, as a person with this screen, language and link would."""
    context = browser.new_context(accept_downloads=True, viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(PATIENCE_MS)
    base = f"http://127.0.0.1:{site.port}/"

    def watch(page: Page) -> None:
        def hear(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                console.append(message.text)

        def see(request: Request) -> None:
            if not request.url.startswith((base, "blob:", "data:")):
                console.append(f"request to another host: {request.url}")

        page.on("console", hear)
        page.on("pageerror", lambda error: console.append(f"{error}"))
        page.on("request", see)

    context.on("page", watch)
    yield Opener(context, base)
    context.close()


@pytest.fixture
def page(opened: Opener) -> Page:
    """The page, opened, with its first text scored and drawn."""
    return opened()


@pytest.fixture
def tab(opened: Opener) -> Page:
    """The tensor tab, with its example computed and drawn."""
    page = opened(wait=False, tab="tensors")
    expect(page.locator(f"#tensor-map {DRAWN}")).to_be_visible()
    return page
