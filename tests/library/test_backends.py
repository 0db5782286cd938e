"""Which backend runs, and that it says so."""

import pytest
import torch

from attnloss import attention, flash, losses, tiling
from attnloss.kernels import native
from attnloss.loss import evaluate_losses
from attnloss.scores import make_other, make_scores

LONG = 300
NEEDS_NATIVE = pytest.mark.skipif(native.unavailable() is not None, reason=f"{native.unavailable()}")
NEEDS_FLASH = pytest.mark.skipif(flash.unavailable() is not None, reason="this torch has no flash kernel for CPU")


def tensors(n: int = LONG, m: int = LONG, size: float = 1.0) -> tuple[torch.Tensor, ...]:
    return torch.randn(1, 4, n, 8) * size, torch.randn(1, 4, m, 8), torch.randn(1, 4, m, 8)


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where the kernel was not built."""
    monkeypatch.setattr(native, "unavailable", lambda: "the kernels are not built")


@NEEDS_NATIVE
@pytest.mark.parametrize("returns", [("output",), ("lse", "entropy"), ("output", "max", "received", "top")])
def test_auto_picks_native_where_it_gives_all_that_is_wanted(returns: tuple[str, ...]) -> None:
    needing = [tensor.requires_grad_() for tensor in tensors()]
    top_k = 5 if "top" in returns else None
    assert attention(*needing, returns=returns, top_k=top_k).backend == "native"
    assert attention(*needing, returns=(*returns, "weights"), top_k=top_k).backend == "chunked"


@NEEDS_NATIVE
def test_auto_leaves_to_chunked_only_what_native_lacks_where_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, _ = tensors(m=LONG + 1)
    scores = make_scores(query, key)
    other = {"other": make_other(scores, query + 1, key)}
    wanted = {name: losses.build(name, scores, other if name == "kl" else {}) for name in ("variance", "kl", "entropy")}
    results = []
    for tile, split, backend in ((1 << 10, ("kl", "entropy"), "native+chunked"), (1 << 19, ("entropy",), "chunked")):
        monkeypatch.setattr(tiling, "TILE_SCORES", tile)
        values, evaluation = evaluate_losses(scores, wanted)
        assert evaluation.backend == backend
        assert evaluate_losses(scores, {name: wanted[name] for name in split})[1].backend == "native"
        assert evaluate_losses(scores, {name: wanted[name] for name in ("variance", "entropy")})[1].backend == "chunked"
        results.append(values)
    for name in wanted:
        torch.testing.assert_close(results[0][name], results[1][name], atol=1e-5, rtol=1e-4)


@NEEDS_NATIVE
@pytest.mark.usefixtures("small_tiles")
def test_a_gradient_of_the_output_is_native_beside_weights_and_top_goes_with_them() -> None:
    needing = [tensor.requires_grad_() for tensor in tensors(n=29, m=31)]
    found = {}
    for backend in ("auto", "chunked"):
        result = attention(*needing, returns=("output", "weights", "top"), top_k=3, backend=backend)
        assert torch.equal(result.weights.gather(-1, result.top.index), result.top.weight)
        total = result.output.sin().sum() + result.weights.square().sum() + result.top.weight.cos().sum()
        found[result.backend] = torch.autograd.grad(total, needing)
    assert list(found) == ["native+chunked", "chunked"]
    for one, two in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        assert attention(*needing, returns=("output", "weights")).backend == "chunked"


@NEEDS_NATIVE
def test_auto_leaves_to_chunked_what_would_lose_digits_in_native() -> None:
    query, key, value = tensors(size=1e6)
    assert attention(query, key, value, returns=("entropy",)).backend == "native"
    assert attention(query, key, value, returns=("received",)).backend == "chunked"
    query.requires_grad_()
    assert attention(query, key, value, returns=("entropy",)).backend == "chunked"
    with pytest.raises(ValueError, match="lose digits, it is exact to 10000"):
        attention(query, key, value, returns=("entropy",), backend="native")


@pytest.mark.usefixtures("stock")
def test_native_says_why_it_is_not_there() -> None:
    with pytest.raises(ValueError, match="backend native cannot compute this: the kernels are not built"):
        attention(*tensors(), backend="native")


def test_what_needs_no_pass_is_told_as_gram_alone_or_beside_the_pass() -> None:
    query, key, _ = tensors()
    scores = make_scores(query, key)
    pair = {"score": losses.build("score_mse", scores, {"other": make_other(scores, key, query)})}
    both = pair | {"entropy": losses.build("entropy", scores, {})}
    assert evaluate_losses(scores, pair)[1].backend == "gram"
    assert evaluate_losses(scores, both)[1].backend in ("native+gram", "chunked+gram")
    assert evaluate_losses(scores, both, backend="chunked")[1].backend == "chunked"
    with pytest.raises(ValueError, match=r"has no native form|not built"):
        evaluate_losses(scores, both, backend="native")


@pytest.mark.usefixtures("stock")
@NEEDS_FLASH
def test_auto_picks_flash_for_the_output_and_an_lse_beside_it() -> None:
    for returns in [("output",), ("output", "lse")]:
        assert attention(*tensors(), returns=returns).backend == "flash"


@pytest.mark.usefixtures("stock")
def test_auto_picks_chunked_where_its_one_pass_gives_more() -> None:
    for returns in [("lse",), ("entropy",), ("output", "entropy")]:
        assert attention(*tensors(), returns=returns).backend == "chunked"


@NEEDS_FLASH
@pytest.mark.parametrize("returns", [("entropy",), ("output", "entropy"), ("lse",)])
@pytest.mark.usefixtures("small_tiles", "stock")
def test_auto_picks_flash_beyond_one_tile_for_up_to_two_passes(returns: tuple[str, ...]) -> None:
    needing = [tensor.requires_grad_() for tensor in tensors()]
    assert attention(*needing, returns=returns).backend == "flash"
    with torch.no_grad():
        assert attention(*needing, returns=returns).backend == "flash"


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize("name", ["weights", "max", "received", "top"])
def test_auto_picks_chunked_for_what_flash_cannot_give(name: str) -> None:
    query, key, value = tensors()
    result = attention(query, key, value, returns=("output", name), top_k=2 if name == "top" else None)
    assert result.backend == "chunked"


@pytest.mark.usefixtures("small_tiles", "stock")
def test_auto_picks_chunked_where_the_identity_would_lose_digits() -> None:
    query, key, value = (tensor.requires_grad_() for tensor in tensors(size=100.0))
    assert attention(query, key, value, returns=("entropy",)).backend == "chunked"


REFUSALS = {
    "mask": ({"mask": torch.ones(LONG, LONG).bool()}, "no mask"),
    "lengths": ({"key_lengths": [3]}, "no lengths"),
    "weights": ({"returns": ("weights",)}, "weights has no flash form"),
}


@pytest.mark.parametrize(("options", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
def test_flash_refuses_what_it_cannot_do_and_says_why(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        attention(*tensors(), backend="flash", **options)


def test_flash_refuses_causal_of_different_lengths_and_wide_features_and_large_scores() -> None:
    query, key, value = tensors(m=LONG + 1)
    with pytest.raises(ValueError, match="n = 300 and m = 301"):
        attention(query, key, value, causal=True, backend="flash")
    with pytest.raises(ValueError, match="wider than the head dim of key, 8"):
        attention(query, key, torch.cat([value, value], -1), backend="flash")
    with pytest.raises(ValueError, match="lose digits, it is exact to 20"):
        losses.entropy(query * 100, key, backend="flash")


@pytest.mark.usefixtures("stock")
def test_auto_falls_back_to_chunked_where_the_kernel_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "unavailable", lambda: "this torch has no such kernel")
    assert attention(*tensors()).backend == "chunked"
    with pytest.raises(ValueError, match="no such kernel"):
        attention(*tensors(), backend="flash")


def test_the_score_bound_is_never_below_a_score() -> None:
    query, key, _ = tensors()
    scores = make_scores(query, key, scale=-0.3)
    assert scores.bound >= (0.3 * query @ key.mT).abs().max()
