"""Attention, its lse and its entropy from torch's CPU flash kernel, in O(n·d) memory both ways.

The kernel is private to torch (`aten::_scaled_dot_product_flash_attention_for_cpu`), so it is probed once;
where it is missing or behaves differently, `FlashPass.refusal` says so. It takes equal head dims of query, key and
value, and aligns causal to the start, which is the end as well where n = m.
"""

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from attnloss.fused import FusedPass
from attnloss.scores import Scores, per_query_head

IDENTITY_BOUND = 20.0
"""Largest |score| up to which H = L − s̄ is a difference of numbers small enough to keep its digits."""


def _forward(query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output, lse = flash(query, key, value, 0.0, causal, scale=scale)
    return output, lse


def _backward(
    grad_output: Tensor,
    grad_lse: Tensor | None,
    saved: tuple[Tensor, ...],
    scale: float,
    causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Differentiate both results by one kernel call.

    The kernel computes dS = P ⊙ (dO·Vᵀ − ΣdO·O). One more feature, 1 in V, 0 in O and dL in dO, adds P ⊙
    dL: the gradient of the lse.
    """
    query, key, value, output, lse = saved
    width = query.shape[-1]
    if grad_lse is not None:
        ones = value.new_ones(*value.shape[:-1], 1)
        value, output = torch.cat([value, ones], -1), _widen(output)
        grad_output = torch.cat([grad_output, grad_lse[..., None]], -1)
        query, key = _widen(query), _widen(key)
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    grads = backward(grad_output, query, key, value, output, lse, 0.0, causal, scale=scale)
    grad_query, grad_key, grad_value = (grad[..., :width] for grad in grads)
    return grad_query, grad_key, grad_value


def _widen(tensor: Tensor) -> Tensor:
    return torch.nn.functional.pad(tensor, (0, 1))


class _Expectation(torch.autograd.Function):
    """P·V and the lse, both differentiable."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool
    ) -> tuple[Tensor, Tensor]:
        output, lse = _forward(query, key, value, scale, causal)
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.setting = scale, causal
        ctx.set_materialize_grads(False)
        return output, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor | None, grad_lse: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad_output is None and grad_lse is None:
            return None, None, None, None, None
        if grad_output is None:
            grad_output = torch.zeros_like(ctx.saved_tensors[3])
        return *_backward(grad_output, grad_lse, ctx.saved_tensors, *ctx.setting), None, None


class _Entropy(torch.autograd.Function):
    """H = L − scale·q·(P·K) and the lse L.

    The gradient of H is one flash backward with V = K and dO = −g·scale·Q.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
        mean_key, lse = _forward(query, key, key, scale, causal)
        ctx.save_for_backward(query, key, key, mean_key, lse)
        ctx.setting = scale, causal
        ctx.set_materialize_grads(False)
        return lse - scale * (query * mean_key).sum(-1), lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_entropy: Tensor | None, grad_lse: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad_entropy is None and grad_lse is None:
            return None, None, None, None
        query, (scale, causal) = ctx.saved_tensors[0], ctx.setting
        weight = torch.zeros_like(ctx.saved_tensors[4]) if grad_entropy is None else -scale * grad_entropy
        grads = _backward(weight[..., None] * query, grad_lse, ctx.saved_tensors, scale, causal)
        return grads[0], grads[1], None, None


_TwoResults = Callable[..., tuple[Tensor, Tensor]]
_expectation = cast("_TwoResults", _Expectation.apply)
_entropy = cast("_TwoResults", _Entropy.apply)


class FlashPass(FusedPass):
    """The flash kernel on one score map; each expectation is a pass of its own."""

    provides = frozenset({"expect", "entropy", "lse"})

    def __init__(self, scores: Scores, features: Mapping[object, Tensor], top_count: int = 0) -> None:
        """Spread grouped key heads over their query heads, as the kernel wants them."""
        super().__init__(scores, features, top_count)
        self.key = per_query_head(scores.key, self.query.shape[1])
        self._setting = (scores.scale, scores.causal)
        self._lse: Tensor | None = None

    @classmethod
    @override
    def refusal(cls, scores: Scores) -> str | None:
        n, m = scores.shape[2:]
        if scores.query.device.type != "cpu":
            return f"it runs on CPU tensors, these are on {scores.query.device}"
        if scores.mask is not None or scores.query_lengths is not None or scores.key_lengths is not None:
            return "it takes no mask and no lengths"
        if scores.causal and n != m:
            return f"it aligns causal to the start, which differs from the end where n = {n} and m = {m}"
        return unavailable()

    @override
    def expect(self, owner: object) -> Float[Tensor, "B H n f"]:
        """Σ_j p_ij·x_j by one pass; features are padded with zeros to the head dim of key."""
        features = self.features[owner]
        width = features.shape[-1]
        padded = torch.nn.functional.pad(features, (0, self.key.shape[-1] - width))
        output, self._lse = _expectation(
            self.query, self.key, per_query_head(padded, self.query.shape[1]), *self._setting
        )
        return output[..., :width]

    @cached_property
    @override
    def entropy(self) -> Float[Tensor, "B H n"]:
        """The entropy by one pass."""
        entropy, self._lse = _entropy(self.query, self.key, *self._setting)
        return entropy

    @property
    @override
    def lse(self) -> Float[Tensor, "B H n"]:
        """The lse of whichever pass ran last, or of one of its own."""
        if self._lse is None:
            self._lse = _expectation(self.query, self.key, self.key.detach(), *self._setting)[1]
        return self._lse


@cache
def unavailable() -> str | None:
    """Why this torch has no usable kernel, or None: one tiny forward and backward, compared with softmax."""
    with torch.inference_mode(mode=False):  # whoever asks first may be in inference mode
        return _unusable()


def _unusable() -> str | None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(1, 1, 3, 2, generator=generator, dtype=torch.float64) for _ in range(4)]
    query, key, value, grad = tensors
    try:
        output, lse = _forward(query, key, value, 0.5, True)
        grads = _backward(grad, None, (query, key, value, output, lse), 0.5, True)
    except (AttributeError, RuntimeError, TypeError) as error:
        return f"torch {torch.__version__} has no such kernel: {error}"
    with torch.enable_grad():
        leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
        logits = (0.5 * leaves[0] @ leaves[1].mT).masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
        truth = logits.softmax(-1) @ leaves[2]
        true_grads = torch.autograd.grad(truth, leaves, grad)
    pairs = [(output, truth), (lse, logits.logsumexp(-1)), *zip(grads, true_grads, strict=True)]
    if all(torch.allclose(got, expected, atol=1e-12) for got, expected in pairs):
        return None
    return f"the kernel of torch {torch.__version__} computes something else than attention"
