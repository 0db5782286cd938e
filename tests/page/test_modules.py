"""What the page's modules compute, asked of them in the browser."""

import io
import json

import numpy as np
import pytest
import torch
from playwright.sync_api import Page
from safetensors.torch import save

from tests.page.opening import run


@pytest.mark.parametrize("text", ["plain", "👩‍👩‍👧 é 💩", "a💩b", "e\u0301", ""])
def test_code_points_and_utf_16_are_told_apart(modules: Page, text: str) -> None:
    places = run(
        modules,
        "text/codepoints.js",
        "Array.from({length: m.codePoints(x).length + 1}, (_, i) => m.codePoints(x).toUtf16(i))",
        text,
    )
    assert places == [len(text[:i].encode("utf-16-le")) // 2 for i in range(len(text) + 1)]
    for point, unit in enumerate(places):
        assert run(modules, "text/codepoints.js", "m.codePoints(x[0]).fromUtf16(x[1])", [text, unit]) == point
    assert run(modules, "text/codepoints.js", "m.codePoints(x).slice(0, 2)", text) == text[:2]


def test_the_middle_of_a_pair_is_the_character_that_it_belongs_to(modules: Page) -> None:
    assert run(modules, "text/codepoints.js", "m.codePoints('a💩b').fromUtf16(2)") == 1


def test_only_broken_pairs_are_replaced(modules: Page) -> None:
    assert run(modules, "text/codepoints.js", r"m.wellFormed('a\ud83d b \udca9💩')") == "a\ufffd b \ufffd💩"


def test_the_pieces_of_one_character_are_numbered(modules: Page) -> None:
    found = run(
        modules,
        "text/codepoints.js",
        "m.labels(['<s>', '👩', '👩', ' a'], [[0, 0], [0, 1], [0, 1], [1, 3]]).map(l => [l.text, l.piece, l.of, l.special])",
    )
    assert found == [["<s>", 1, 1, True], ["👩", 1, 2, False], ["👩", 2, 2, False], ["·a", 1, 1, False]]


def test_a_state_comes_back_from_its_link(modules: Page) -> None:
    state = {
        "text": "a&b=c #+%\n👩 شكرا",
        "layer": 3,
        "head": 2,
        "token": 5,
        "measure": "renyi",
        "params": "alpha=3",
        "compare": "texts",
    }
    back = run(modules, "state.js", "m.fromHash('#' + m.toHash({...m.DEFAULTS, ...x}))", state)
    assert {name: back[name] for name in state} == state
    assert run(modules, "state.js", "m.toHash(m.DEFAULTS)") == ""


@pytest.mark.parametrize(
    "link",
    [
        "#layer=x&head=1e99&tab=none&compare=all&nothing=1",
        "#constructor=1&toString=2&__proto__=3",
        "#%E0%A4%A",
        "#text",
        "#&&=&",
    ],
)
def test_a_broken_link_opens_with_what_can_be_read(modules: Page, link: str) -> None:
    state = run(modules, "state.js", "m.fromHash(x)", link)
    assert (state["layer"], state["head"], state["tab"], state["compare"]) == (-1, 0, "text", "")
    assert state == run(modules, "state.js", "m.DEFAULTS") | {"text": state["text"]}


@pytest.mark.parametrize(
    "part",
    [
        "scale=log",
        "permutations=-5",
        "permutations=17",
        "dtype=int8",
        "causal=1",
        "seed=-1",
        "batch=-1",
        "queryHead=-2",
        "site=all",
    ],
)
def test_what_no_control_offers_is_left_out_of_a_link(modules: Page, part: str) -> None:
    assert run(modules, "state.js", "m.fromHash(x)", part) == run(modules, "state.js", "m.DEFAULTS")


ARRAYS = {
    "float32": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "float64": np.arange(24.0).reshape(2, 3, 4),
    "float16": np.array([0.5, -2], np.float16),
    "big": np.arange(4, dtype=">f4"),
    "fortran": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)),
    "int64": np.array([[1, -2]], np.int64),
    "int16": np.array([-3, 4], np.int16),
    "uint8": np.array([255, 0], np.uint8),
    "bool": np.array([[True, False]]),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
}


def test_npz_archives_are_read_as_numpy_wrote_them(modules: Page) -> None:
    for write in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        write(file, **ARRAYS)
        expression = (
            "[...(await m.readNpz(new Uint8Array(x))).arrays].map(([n, t]) => [n, t.shape, t.dtype, [...t.bytes]])"
        )
        found = {name: rest for name, *rest in run(modules, "tensors/npy.js", expression, list(file.getvalue()))}
        assert found.keys() == ARRAYS.keys()
        for name, (shape, dtype, data) in found.items():
            given = ARRAYS[name]
            assert shape == list(given.shape), name
            np.testing.assert_array_equal(np.frombuffer(bytes(data), dtype).reshape(shape), given, err_msg=name)


def test_safetensors_are_read_as_they_were_written(modules: Page) -> None:
    tensors = {
        "f": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1.5, -2], dtype=torch.bfloat16),
        "i": torch.tensor([1, 2], dtype=torch.int8), "m": torch.tensor([True, False]),
    }  # fmt: skip
    expression = "[...m.readSafetensors(new Uint8Array(x)).arrays].map(([n, t]) => [n, t.shape, t.dtype, [...t.bytes]])"
    found = {name: rest for name, *rest in run(modules, "tensors/safetensors.js", expression, list(save(tensors)))}
    assert found["f"] == [[2, 3], "float32", list(np.arange(6, dtype=np.float32).tobytes())]
    assert found["b"][1:] == ["bfloat16", list(tensors["b"].view(torch.int16).numpy().tobytes())]
    assert found["i"] == [[2], "int64", list(np.array([1, 2]).tobytes())]
    assert found["m"] == [[2], "bool", [1, 0]]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04junk", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_a_broken_file_is_told_in_words(modules: Page, data: bytes) -> None:
    for module, call in (("npy.js", "m.readNpz"), ("npy.js", "m.readNpy"), ("safetensors.js", "m.readSafetensors")):
        expression = (
            f"await (async () => {call}(new Uint8Array(x)))().then(() => 'read', error => error.constructor.name)"
        )
        assert run(modules, f"tensors/{module}", expression, list(data)) == "Unreadable"


def test_names_tell_what_arrays_are(modules: Page) -> None:
    found = run(
        modules,
        "tensors/files.js",
        "Object.fromEntries(m.guessRoles(x))",
        ["layers.0.q", "layers.0.k", "V", "attn_mask", "w"],
    )
    assert found == {"query": "layers.0.q", "key": "layers.0.k", "value": "V", "mask": "attn_mask"}


def test_divergences_are_those_of_the_definition(modules: Page) -> None:
    p, r = np.random.default_rng(0).dirichlet(np.ones(7), (2, 5))
    found = run(
        modules,
        "text/weights.js",
        "(d => [[...d.kl], [...d.js], d.meanKl])(m.divergences(x[0], x[1], 5, 7))",
        [p.ravel().tolist(), r.ravel().tolist()],
    )
    middle = (p + r) / 2
    kl = (p * np.log(p / r)).sum(-1)
    np.testing.assert_allclose(found[0], kl)
    np.testing.assert_allclose(found[1], ((p * np.log(p / middle)).sum(-1) + (r * np.log(r / middle)).sum(-1)) / 2)
    assert found[2] == pytest.approx(kl.mean())


def test_a_python_literal_means_what_the_json_means(modules: Page) -> None:
    value = {
        "text": 'it\'s "so"\u2028 👩‍👧 \\n \u0000',
        "yes": True,
        "no": False,
        "none": None,
        "list": [1, 0.5, [-3e-9]],
    }
    assert eval(run(modules, "snippets.js", "m.python(x)", value)) == value


def test_csv_quotes_what_needs_it(modules: Page) -> None:
    assert (
        run(modules, "exports.js", "m.csv(x)", [["a,b", 'say "x"', None, 1.5], ["line\nbreak"]])
        == '"a,b","say ""x""",,1.5\r\n"line\nbreak"\r\n'
    )


def test_csv_holds_nothing_that_a_spreadsheet_would_compute(modules: Page) -> None:
    given = [["=1+1", "+1", "-x", "@a", "\tb", " =c", -1.5, True]]
    assert run(modules, "exports.js", "m.csv(x)", given) == "'=1+1,'+1,'-x,'@a,'\tb, =c,-1.5,true\r\n"


def test_a_source_asks_for_each_window_once_and_never_above_the_diagonal(modules: Page) -> None:
    expression = """await (async () => {
        const asked = [];
        const source = new m.Source(600, 600, async (q0, q1, k0, k1) => { asked.push([q0, q1, k0, k1]);
            return Array.from({length: (q1 - q0) * (k1 - k0)}, (_, i) => (q0 + Math.floor(i / (k1 - k0))) * 1000 + k0 + i % (k1 - k0)); }, {causal: true});
        await source.want(0, 250, 0, 600); await source.want(0, 250, 0, 600); await source.want(300, 600, 300, 600);
        return [asked, source.get(249, 9), source.get(0, 599), source.get(599, 598), source.get(500, 0) ?? null];
    })()"""
    assert run(modules, "draw/source.js", expression) == [
        [[0, 256, 0, 256], [256, 600, 256, 600]],
        249009,
        0,
        599598,
        None,
    ]


def test_ink_is_read_on_every_colour(modules: Page) -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(
            w * (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4)
            for w, v in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
        )

    pairs = run(
        modules,
        "draw/colour.js",
        "['viridis', 'cividis'].flatMap(n => Array.from({length: 64}, (_, i) => { const c = m.colour(n, i / 63); return [c, m.inkOn(c)]; }))",
    )
    for ground, ink in pairs:
        light, dark = sorted((luminance(ground), luminance(ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, json.dumps([ground, ink])
