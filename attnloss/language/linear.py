"""The backend of torch's own `linear_cross_entropy`, in torch ≥ 2.13."""

from typing import Any

import torch
from torch import Tensor

from attnloss.language.logits import Projection, Source
from attnloss.language.tiling import FEWEST_ROWS, FUSED_LOGITS


def refusal(source: Source, smoothing: float, z_coefficient: float) -> str | None:
    """Say why this backend cannot compute the cross-entropy asked for, or None."""
    if not hasattr(torch.nn.functional, "linear_cross_entropy"):
        return f"linear_cross_entropy came with torch 2.13, this is {torch.__version__}"
    if not isinstance(source, Projection):
        return "it takes hidden states and the output matrix, and got logits"
    if smoothing > 0:
        return f"without dense logits it takes no label smoothing, got {smoothing}"
    if z_coefficient > 0:
        return f"it knows no z-loss, got a coefficient of {z_coefficient}"
    if source.first.dtype != source.dtype:
        return f"it would round the loss to {source.first.dtype}, it must be {source.dtype}"
    return None


def pays(source: Source, reduction: str) -> bool:
    """Say whether it is faster than the chunked pass: three products of its size against four, in 0.75–0.87× the time.

    That is so for scalars of which a gradient is wanted, as far as measured: on the CPU, in parts of FEWEST_ROWS.
    """
    wanted = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in source.tensors)
    fits = FUSED_LOGITS // source.shape[1] >= FEWEST_ROWS
    return wanted and fits and reduction in ("mean", "sum") and source.first.device.type == "cpu"


def cross_entropy(source: Source, targets: Tensor, reduction: str) -> Tensor:
    """−log p_i(y_i), "none" or "sum"; with "sum" the gradients are made in the forward pass already."""
    assert isinstance(source, Projection)
    functional: Any = torch.nn.functional
    make_options: Any = torch.nn.LinearCrossEntropyOptions
    rows = max(1, min(FUSED_LOGITS // source.shape[1], source.shape[0]))
    options = make_options(allow_retain_graph=True, batch_chunk_size=rows, chunking_method=None)
    with torch.autocast(source.first.device.type, enabled=False):
        result: Tensor = functional.linear_cross_entropy(
            source.hidden, source.weight, targets, linear_bias=source.bias, reduction=reduction, options=options
        )
    return result
