"""Files as a person drops them on the tensor tab."""

import io
from typing import Any

import numpy as np
from playwright.sync_api import Page


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    transfer = page.evaluate_handle(
        """files => { const t = new DataTransfer();
        for (const [name, data] of files) t.items.add(new File([new Uint8Array(data)], name)); return t; }""",
        [[name, list(data)] for name, data in files],
    )
    page.dispatch_event("#tensor-drop", "drop", {"dataTransfer": transfer})


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
