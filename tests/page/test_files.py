"""Files on the tensor tab: several of them, damaged ones, and what a link says of them."""

import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect
from safetensors.torch import save

from tests.page.files import drop, npy, npz
from tests.page.opening import metric
from tests.serving import Server

EYE = np.eye(3, dtype=np.float32)


def settled(page: Page, query: str) -> None:
    expect(page.locator("#tensor-status")).to_contain_text(f"query {query}")


def roles(page: Page) -> dict[str, str]:
    return dict(
        page.locator("#tensor-roles select").evaluate_all("selects => selects.map(one => [one.name, one.value])")
    )


def test_the_example_takes_the_place_of_a_file(tab: Page) -> None:
    drop(tab, ("x.npz", npz(q=EYE, k=EYE)))
    settled(tab, "[3, 3]")
    tab.click("#tensor-example")
    settled(tab, "[4, 3]")


def test_json_that_was_there_before_is_computed_again_when_it_is_dropped(tab: Page) -> None:
    text = tab.input_value("#tensor-json")
    drop(tab, ("x.npz", npz(q=EYE, k=EYE)))
    settled(tab, "[3, 3]")
    drop(tab, ("same.json", text.encode()))
    settled(tab, "[4, 3]")


def test_a_second_file_leaves_the_roles_that_were_given(tab: Page) -> None:
    drop(tab, ("x.npz", npz(a=EYE, b=EYE)))
    tab.select_option("select[name=a]", "query")
    tab.select_option("select[name=b]", "key")
    settled(tab, "[3, 3]")
    drop(tab, ("v.npz", npz(value=EYE)))
    expect(tab.locator("#tensor-shown option[value=output]")).to_have_count(1)
    assert roles(tab) == {"a": "query", "b": "key", "value": "value"}


def test_arrays_of_one_name_in_two_files_are_told_apart(tab: Page) -> None:
    drop(tab, ("student.npz", npz(q=EYE, k=EYE)), ("teacher.npz", npz(q=EYE[:, ::-1], k=EYE)))
    settled(tab, "[3, 3]")
    assert roles(tab) == {"q": "query", "k": "key", "teacher.q": "other.query", "teacher.k": "other.key"}
    tab.check("#loss-kl")
    expect(tab.locator("[data-metric=kl] dd")).to_contain_text("0.")
    drop(tab, ("student.npz", npz(q=np.eye(3, 3, dtype=np.float32)[:2], k=EYE)), ("teacher.npz", npz(q=EYE[:2], k=EYE)))
    settled(tab, "[2, 3]")
    assert len(roles(tab)) == 4


def test_what_cannot_be_read_of_an_archive_is_left_out_and_told(tab: Page) -> None:
    drop(tab, ("x.npz", npz(q=EYE, k=EYE, names=np.array(["a", "b"]), z=np.zeros(2, np.complex64))))
    settled(tab, "[3, 3]")
    expect(tab.locator("#tensor-skipped")).to_contain_text("z.npy has dtype c8")
    expect(tab.locator("#tensor-skipped")).to_contain_text("names.npy has dtype U1")
    assert list(roles(tab)) == ["q", "k"]


def test_a_file_without_anything_readable_leaves_what_was_there(tab: Page) -> None:
    drop(tab, ("x.npz", npz(names=np.array(["a"]))))
    expect(tab.locator("#tensor-failure")).to_contain_text("names.npy has dtype U1; floats, integers and booleans")
    expect(tab.locator("#tensor-json")).to_be_visible()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool"])
def test_a_mask_of_zeros_and_ones_masks(tab: Page, site: Server, dtype: str) -> None:
    mask = np.tril(np.ones((3, 3)))
    expected = site.post("/loss", {"query": EYE.tolist(), "key": EYE.tolist(), "mask": mask.astype(bool).tolist()})
    drop(tab, ("x.npz", npz(q=EYE, k=EYE, mask=mask.astype(dtype))))
    settled(tab, "[3, 3]")
    assert metric(tab, "loss") == pytest.approx(expected["loss"], abs=1e-5)


def zip64(**arrays: np.ndarray) -> bytes:
    """As numpy writes what is beyond 4 GiB: all sizes, places and counts in the fields of 64 bits."""
    out, directory = io.BytesIO(), io.BytesIO()
    for name, array in arrays.items():
        data, called, at = npy(array), f"{name}.npy".encode(), out.tell()
        wide = struct.pack("<HHQQ", 1, 16, len(data), len(data))
        common = struct.pack("<HHHHHIIIHH", 45, 0, 0, 0, 33, zipfile.crc32(data), 2**32 - 1, 2**32 - 1, len(called), 20)
        out.write(b"PK\3\4" + common + called + wide + data)
        wide = struct.pack("<HHQQQ", 1, 24, len(data), len(data), at)
        common = struct.pack(
            "<HHHHHHIIIHHHHHII",
            45,
            45,
            0,
            0,
            0,
            33,
            zipfile.crc32(data),
            *[2**32 - 1] * 2,
            len(called),
            28,
            0,
            0,
            0,
            0,
            2**32 - 1,
        )
        directory.write(b"PK\1\2" + common + called + wide)
    start, size = out.tell(), len(directory.getvalue())
    out.write(directory.getvalue())
    out.write(b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, len(arrays), len(arrays), size, start))
    out.write(b"PK\6\7" + struct.pack("<IQI", 0, start + size, 1))
    out.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0))
    return out.getvalue()


def test_an_archive_of_zip64_is_read(tab: Page) -> None:
    data = zip64(q=EYE[:2], k=EYE)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    drop(tab, ("x.npz", data))
    settled(tab, "[2, 3]")


def flipped(data: bytes, find: bytes, offset: int = 0) -> bytes:
    at = data.index(find) + offset
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(*offsets: int) -> dict[str, Any]:
    return {"q": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.npz", flipped(npz(q=EYE), EYE.tobytes()), "q.npy is damaged"),
        ("x.npz", npz(q=EYE)[:-30], "Expected an .npz"),
        ("x.npz", b"", "Expected an .npz"),
        ("x.npz", npz(), "There is no .npy"),
        ("x.npy", npy(EYE)[:-1], "x.npy is cut off: 35 of 36 bytes"),
        ("x.npy", b"\x93NUMPY\x01\x00", "x.npy is no .npy"),
        ("x.safetensors", safetensors(None), "is no .safetensors"),
        ("x.safetensors", safetensors([1]), "is no .safetensors"),
        ("x.safetensors", safetensors({"q": None}), "q in the header: expected dtype, shape and data_offsets"),
        ("x.safetensors", safetensors(entry(-4, 0), b"1234"), "q in the header"),
        ("x.safetensors", safetensors(entry(4, 0), b"1234"), "q in the header"),
        ("x.safetensors", safetensors(entry(0, 4), b"123"), "q lies at [0, 4] of the file's 3 bytes"),
        ("x.safetensors", safetensors(entry(1, 5), b"12345"), "expected it to begin at 0"),
        ("x.safetensors", safetensors(entry(0, 5), b"12345"), "q has 5 bytes for shape [1] of F32"),
        ("x.safetensors", safetensors({}), "There are no arrays"),
        ("x.safetensors", (2**63).to_bytes(8, "little") + b"{}", "is no .safetensors"),
        ("x.txt", b"hello", "x.txt: expected .npz, .npy, .safetensors or .json"),
    ],
)
def test_a_damaged_file_is_told_in_a_sentence(tab: Page, name: str, data: bytes, words: str) -> None:
    drop(tab, (name, data))
    failure = tab.locator("#tensor-failure")
    expect(failure.locator("strong")).to_have_text("The file cannot be read")
    expect(failure.locator("p")).to_contain_text(words)


def test_of_several_files_those_that_can_be_read_are_taken(tab: Page) -> None:
    good = save({"q": torch.eye(3), "k": torch.eye(3)})
    drop(tab, ("bad.npy", b"no"), ("good.safetensors", good))
    settled(tab, "[3, 3]")
    expect(tab.locator("#tensor-skipped")).to_contain_text("Left out of bad.npy")


def test_the_link_says_that_it_holds_no_file(tab: Page) -> None:
    drop(tab, ("x.npz", npz(q=EYE, k=EYE)))
    settled(tab, "[3, 3]")
    tab.click("#take summary")
    tab.click("#copy-link")
    expect(tab.locator("#take-says")).to_contain_text("a link holds no file")
    tab.click("#tensor-forget")
    tab.click("#copy-link")
    expect(tab.locator("#take-says")).to_have_text("Copied.")


def test_tensors_too_long_for_a_command_are_read_from_a_file_of_their_body(tab: Page, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((700, 96)).astype(np.float32)
    drop(tab, ("x.npz", npz(q=rows, k=rows)))
    settled(tab, "[700, 96]")
    tab.click("#take summary")
    expect(tab.locator("#bodies button")).to_have_count(2)
    for button in tab.locator("#bodies button").all():
        with tab.expect_download() as came:
            button.click()
        came.value.save_as(tmp_path / came.value.suggested_filename)
    for language, command in (("curl", ["bash", "-euc"]), ("Python", [sys.executable, "-c"])):
        tab.get_by_text(language, exact=True).click()
        code = tab.locator("#snippet").inner_text()
        assert len(code) < 2000
        done = subprocess.run([*command, code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert str(metric(tab, "loss"))[:6] in done.stdout
        assert "weights" in done.stdout.splitlines()[-1]


def test_a_loss_of_two_maps_waits_for_the_second_one(tab: Page) -> None:
    drop(tab, ("x.npz", npz(q=EYE, k=EYE, other_q=EYE, other_k=EYE)))
    settled(tab, "[3, 3]")
    tab.check("#loss-kl")
    expect(tab.locator("[data-metric=kl]")).to_be_visible()
    tab.click("#tensor-example")
    settled(tab, "[4, 3]")
    expect(tab.locator("[data-metric=kl]")).to_have_count(0)
    expect(tab.locator("[data-loss=kl]")).to_contain_text("needs a second map")
