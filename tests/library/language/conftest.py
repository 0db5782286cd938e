import pytest
import torch

from attnloss.language import linear, tiling


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even small problems into many tiles, the last ones shorter both ways."""
    monkeypatch.setattr(tiling, "TILE_LOGITS", 12)
    monkeypatch.setattr(tiling, "MOST_TOKENS", 3)
    monkeypatch.setattr(linear, "FUSED_LOGITS", 30)
    monkeypatch.setattr(linear, "FEWEST_ROWS", 1)


@pytest.fixture(params=["one tile", "many tiles"])
def tiled(request: pytest.FixtureRequest) -> None:
    """Run the test with the whole problem in one tile, and cut into many."""
    if request.param == "many tiles":
        request.getfixturevalue("small_tiles")
