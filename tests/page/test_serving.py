"""How the page is served: what a browser may do with it, and that nothing else of the service changes."""

import re
from pathlib import Path

import pytest

import service
from tests.serving import Server

STATIC = Path(service.__file__).parent / "static"


def test_the_page_comes_with_a_strict_policy(site: Server) -> None:
    answer = site.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_head_gets_the_headers_of_the_page_alone(site: Server) -> None:
    answer = site.client.head("/")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) == (STATIC / "index.html").stat().st_size


def test_a_file_that_the_browser_has_is_not_sent_again(site: Server) -> None:
    first = site.client.get("/static/js/main.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = site.client.get("/static/js/main.js", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert site.client.get("/static/js/main.js", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/static/", "/static/nothing.js", "/static/../app.py", "/static/%2e%2e/app.py", "/index.html"]
)
def test_no_other_file_can_be_asked_for(site: Server, path: str) -> None:
    answer = site.client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_page_takes_no_post(site: Server) -> None:
    assert site.client.post("/", json={}).status_code == 405


def test_the_page_is_no_part_of_the_api(site: Server) -> None:
    assert not {"/", "/static/{name}"} & site.client.get("/openapi.json").json()["paths"].keys()


@pytest.mark.parametrize("page", ["index.html", "docs.html"])
def test_nothing_in_a_page_is_inline_or_from_elsewhere(page: str) -> None:
    html = (STATIC / page).read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|https?:", html)
    for name in re.findall(r'(?:src|href)="(static/[^"]+)"', html):
        assert (STATIC.parent / name).is_file(), name


def test_every_module_that_is_imported_is_shipped() -> None:
    for module in STATIC.glob("js/**/*.js"):
        for name in re.findall(r'(?:from|import\() ?"(\.[^"]+)"', module.read_text()):
            assert (module.parent / name).resolve().is_file(), (module.name, name)


def test_modules_stay_small() -> None:
    long = {path.name: len(path.read_text().splitlines()) for path in STATIC.glob("js/**/*.js")}
    assert {name: lines for name, lines in long.items() if lines > 250} == {}


def test_every_word_that_is_asked_for_exists() -> None:
    words = [path for path in STATIC.glob("js/**/*.js") if path.name == "words.js"]
    known = {name for path in words for name in re.findall(r'^ {2}"?([\w.]+)"?: \[', path.read_text(), re.MULTILINE)}
    sources = [path.read_text() for path in STATIC.glob("js/**/*.js") if path not in words]
    asked = set(re.findall(r'data-i18n(?:-[\w-]+)?="([\w.]+)"', (STATIC / "index.html").read_text()))
    for source in sources:
        asked |= set(re.findall(r'\bt\("([\w.]+)"', source))
        asked |= {
            word
            for word in re.findall(r'"([a-z]+\.[a-z0-9_]+)"', source)
            if word.split(".")[0] in ("compare", "order", "map", "take", "key", "file", "tensor")
        }
    assert asked - known == set()
