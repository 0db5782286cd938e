"""Every misuse is a ValueError that names the argument and states both sides."""

import pytest
import torch

from attnloss import FieldError, attention, expect, losses
from attnloss.device import resolve_device
from attnloss.reduce import reduce

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

QUERY, KEY = torch.zeros(2, 6, 7, 5), torch.zeros(2, 3, 11, 5)

MISUSES = {
    "rank 1": ({"query": torch.zeros(5), "key": torch.zeros(5)}, "query", r"rank 2, 3 or 4.*\[5\]"),
    "rank 5": ({"query": QUERY[None], "key": KEY[None]}, "query", r"rank 2, 3 or 4.*\[1, 2, 6, 7, 5\]"),
    "ranks differ": ({"key": KEY[0]}, "key", r"\[3, 11, 5\].*\[2, 6, 7, 5\]"),
    "batches differ": ({"key": KEY[:1]}, "key", r"\[1, 3, 11, 5\].*\[2, 6, 7, 5\]"),
    "heads do not divide": ({"key": torch.zeros(2, 4, 11, 5)}, "key", r"4 heads.*6"),
    "head dims differ": ({"key": torch.zeros(2, 3, 11, 4)}, "key", r"\[2, 3, 11, 4\].*\[2, 6, 7, 5\]"),
    "no queries": ({"query": QUERY[:, :, :0]}, "query", r"\[2, 6, 0, 5\]"),
    "integers": ({"query": QUERY.long()}, "query", r"floating point, got torch.int64"),
    "dtypes differ": ({"key": KEY.double()}, "key", r"torch.float32, got torch.float64"),
    "value length": ({"value": KEY[:, :, 1:]}, "value", r"\[2, 3, 11, 'any'\].*\[2, 3, 10, 5\]"),
    "value heads": ({"value": KEY[:, :1]}, "value", r"\[2, 3, 11, 'any'\].*\[2, 1, 11, 5\]"),
    "no value": ({"value": None}, "value", r"output is asked for, got None"),
    "additive mask": ({"mask": torch.zeros(7, 11)}, "mask", r"boolean.*got torch.float32"),
    "mask shape": ({"mask": torch.ones(11, 7).bool()}, "mask", r"\[7, 11\], or \[2, 6, 7, 11\].*\[11, 7\]"),
    "length count": ({"key_lengths": [3]}, "key_lengths", r"shape \[2\], got \[1\]"),
    "length range": ({"key_lengths": [3, 12]}, "key_lengths", r"key_lengths\[1\].*0…11, got 12"),
    "length dtype": ({"query_lengths": torch.ones(2)}, "query_lengths", r"integers, got torch.float32"),
    "scale": ({"scale": float("nan")}, "scale", r"finite, got nan"),
    "statistic": ({"returns": ("sharpness",)}, "returns", r"output, weights.*got 'sharpness'"),
    "top without top_k": ({"returns": ("top",)}, "top_k", r"got None"),
    "top_k too large": ({"returns": ("top",), "top_k": 12}, "top_k", r"1…11.*got 12"),
    "window without weights": ({"queries": (0, 1)}, "queries", r"not in \['output'\]"),
    "window range": ({"returns": ("weights",), "keys": (3, 12)}, "keys", r"≤ 11, got \[3, 12\]"),
}


@pytest.mark.parametrize(("change", "field", "message"), MISUSES.values(), ids=MISUSES.keys())
def test_misuse_names_the_argument_and_states_both_sides(change: dict[str, object], field: str, message: str) -> None:
    arguments = {"query": QUERY, "key": KEY, "value": KEY} | change
    with pytest.raises(FieldError, match=message) as caught:
        attention(**arguments)
    assert caught.value.field == field


def test_a_length_out_of_range_is_named_by_its_batch_entry() -> None:
    with pytest.raises(FieldError) as caught:
        attention(QUERY, KEY, KEY, query_lengths=[7, -1])
    assert caught.value.index == (1,)


def test_features_must_lie_along_the_keys() -> None:
    with pytest.raises(FieldError, match=r"features.*\[2, 3, 11, 'any'\].*\[2, 3, 7, 5\]"):
        expect(QUERY, KEY, KEY[:, :, :7])


def test_an_unknown_loss_or_parameter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"collision, row_sum, cross_entropy, .*; got 'entrpy'"):
        losses.build("entrpy", None, {})
    with pytest.raises(ValueError, match=r"kind, eps, smoothing, compat; got 'tgt'"):
        losses.build("cross_entropy", None, {"tgt": 1})


def test_an_unknown_reduction_or_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="none, mean, sum; got 'avg'"):
        reduce(torch.zeros(1, 1, 1), torch.ones(1, 1, 1).bool(), "avg")
    with pytest.raises(ValueError, match="auto, native, flash, chunked, reference; got 'fast'"):
        attention(QUERY, KEY, KEY, backend="fast")


@pytest.mark.parametrize("name", ["tpu", "cpu:0", "cuda:x", "cuda:99", ""])
def test_a_device_that_is_unknown_or_missing_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name!r}" if name != "cuda:99" else "torch sees"):
        resolve_device(name)
