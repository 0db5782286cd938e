import threading

import pytest
import torch

from attnloss import tiling, workspace


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even small problems into many tiles."""
    monkeypatch.setattr(tiling, "TILE_SCORES", 20)
    monkeypatch.setattr(tiling, "FEWEST_ROWS", 2)


@pytest.fixture(params=["one tile", "many tiles"])
def tiled(request: pytest.FixtureRequest) -> None:
    """Run the test on both ways through the chunked backend."""
    if request.param == "many tiles":
        request.getfixturevalue("small_tiles")


@pytest.fixture
def fresh_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep no buffer of earlier tests."""
    monkeypatch.setattr(workspace, "_idle", threading.local())
