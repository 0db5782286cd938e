"""What hidden states, output matrix, targets and parameters must be; each failure states both sides."""

import math

import torch
from torch import Tensor

from attnloss.errors import FieldError
from attnloss.language.logits import Given, Projection, Source

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def floating(field: str, tensor: Tensor) -> None:
    """Check dtype and rank: one row per token, however many axes of tokens there are."""
    if tensor.dtype not in FLOATS:
        raise FieldError(field, (), f"{field} must be float16, bfloat16, float32 or float64, got {tensor.dtype}")
    if tensor.ndim == 0 or tensor.shape[-1] == 0:
        last = "d" if field == "hidden" else "V"
        raise FieldError(field, (), f"{field} must have shape [..., {last}], {last} ≥ 1, got {list(tensor.shape)}")


def projection(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Check that output matrix and bias fit the hidden states."""
    floating("hidden", hidden)
    width = hidden.shape[-1]
    if weight.ndim != 2 or weight.shape[0] == 0 or weight.shape[1] != width:
        came = list(weight.shape)
        raise FieldError("weight", (), f"weight must have shape [V, {width}], V ≥ 1, hidden's last axis; got {came}")
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        expected = [weight.shape[0]]
        raise FieldError("bias", (), f"bias must have shape {expected}, weight's rows, got {list(bias.shape)}")
    for field, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != hidden.dtype:
            message = f"{field} must have the dtype of hidden, {hidden.dtype}, got {tensor.dtype}"
            raise FieldError(field, (), message)
        if tensor is not None and tensor.device != hidden.device:
            message = f"{field} must be on the device of hidden, {hidden.device}, got {tensor.device}"
            raise FieldError(field, (), message)


def targets(given: Tensor, first: Tensor, field: str, vocabulary: int, ignore_index: int) -> Tensor:
    """Check the targets against the tensor `first`, named `field`, and return them as int64 on its device."""
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise FieldError("targets", (), f"targets must be integers, got {given.dtype}")
    if given.shape != first.shape[:-1]:
        expected = list(first.shape[:-1])
        message = f"targets must have shape {expected}, that of {field} without its last axis, got {list(given.shape)}"
        raise FieldError("targets", (), message)
    lifted = given.to(first.device, torch.int64)
    wrong = (lifted != ignore_index) & ((lifted < 0) | (lifted >= vocabulary))
    if place := first_true(wrong):
        at = place[0]
        message = f"targets{list(at)} must be within 0…{vocabulary - 1} or ignore_index, {ignore_index}"
        raise FieldError("targets", at, f"{message}; got {int(lifted[at])}")
    return lifted


def first_true(wrong: Tensor) -> tuple[tuple[int, ...]] | None:
    """Give the first true place in a tuple of one (a scalar's place is empty, and false), or None."""
    return (tuple(int(at) for at in wrong.nonzero()[0]),) if bool(wrong.any()) else None


def smoothing(epsilon: float, convention: str, vocabulary: int, ignore_index: int) -> None:
    """Check the smoothing against the words that it is spread over."""
    if not 0 <= epsilon < 1:
        raise FieldError("smoothing", (), f"smoothing must be within 0 ≤ smoothing < 1, got {epsilon}")
    fewest = {"torch": 1, "transformer": 2, "opennmt": 3}
    if convention not in fewest:
        raise FieldError("convention", (), f"convention must be one of {', '.join(fewest)}; got {convention!r}")
    if epsilon > 0 and vocabulary < fewest[convention]:
        message = f"convention {convention} smooths over a vocabulary of at least {fewest[convention]}"
        raise FieldError("convention", (), f"{message}, got {vocabulary}")
    if convention == "opennmt" and not 0 <= ignore_index < vocabulary:
        message = f"convention opennmt takes ignore_index for the padding word, within 0…{vocabulary - 1}"
        raise FieldError("ignore_index", (), f"{message}; got {ignore_index}")


def coefficient(field: str, value: float) -> None:
    """Check a factor of a loss."""
    if not (math.isfinite(value) and value >= 0):
        raise FieldError(field, (), f"{field} must be finite and ≥ 0, got {value}")


def top_count(field: str, count: int, vocabulary: int) -> None:
    """Check how many words are asked for."""
    if not 1 <= count <= vocabulary:
        raise FieldError(field, (), f"{field} must be within 1…{vocabulary}, the vocabulary, got {count}")


def byte_count(value: int) -> None:
    """Check the number of bytes that the scored tokens spell."""
    if value < 1:
        raise FieldError("byte_count", (), f"byte_count must be at least 1, got {value}")


def not_finite(source: Source, token: tuple[int, ...]) -> FieldError:
    """Find out who is to blame for a value of the token that is no number; looked for only then."""
    for field, tensor in _others(source):
        if place := first_true(tensor.isnan() | (tensor == torch.inf)):
            at = place[0]
            came = float(tensor[at])
            return FieldError(field, at, f"{field} must be free of NaN and +∞, got {came} at {list(at)}")
    message = f"{source.field}{list(token)} gives logits or sums of logits that are not finite in {source.dtype}"
    return FieldError(source.field, token, f"{message}; they must be")


def _others(source: Source) -> list[tuple[str, Tensor]]:
    if isinstance(source, Projection):
        tensors = (("weight", source.weight), ("bias", source.bias))
        return [(field, tensor) for field, tensor in tensors if tensor is not None]
    assert isinstance(source, Given)
    return []
