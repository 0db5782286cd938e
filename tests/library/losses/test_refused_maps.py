"""Second maps, queries and modes that do not fit a loss are refused by name."""

import math

import pytest
import torch
from torch import Tensor

from attnloss import FieldError, losses
from tests.library.losses.cases import CASES, ORDERED, TWO_MAPS, setting
from tests.library.losses.refusals import M, N, refused

pytestmark = pytest.mark.usefixtures("unchecked_shapes")


@pytest.mark.parametrize("name", sorted(TWO_MAPS))
def test_a_second_map_that_does_not_fit_is_named(name: str) -> None:
    problem = setting("plain")
    query, key = problem.other_query, problem.other_key
    changes: dict[str, tuple[Tensor, Tensor, str]] = {
        "queries": (query[:, :, 1:], key, "other_query"),
        "rank": (query[0], key, "other_query"),
        "batch": (query[:1], key, "other_query"),
        "keys": (query, key[:, :, 1:], "other_key"),
        "heads": (query, key[:, :2], "other_key"),
        "width": (query, key[..., 1:], "other_key"),
        "dtype of query": (query.long(), key, "other_query"),
        "dtype of key": (query, key.long(), "other_key"),
    }
    for what, (other_query, other_key, field) in changes.items():
        with pytest.raises(FieldError) as caught:
            getattr(losses, name)(problem.query, problem.key, other_query, other_key)
        assert caught.value.field == field, what
        wrong = other_query if field == "other_query" else other_key
        assert str(list(wrong.shape)) in str(caught.value) or "int64" in str(caught.value), what
    with pytest.raises(FieldError, match="scale"):
        getattr(losses, name)(problem.query, problem.key, query, key, other_scale=math.nan)


def test_losses_that_cannot_be_finite_say_why() -> None:
    query, key = torch.randn(3, 2), torch.randn(4, 2)
    for name in ORDERED:
        with pytest.raises(FieldError, match="a query for each") as caught:
            getattr(losses, name)(query, key)
        assert caught.value.field == "query"
    with pytest.raises(FieldError, match="2 or more, got 1"):
        losses.disagreement(query[None, None], key[None, None])


def test_parameters_that_a_mode_fixes_are_refused() -> None:
    problem = setting("plain")
    index = CASES["cross_entropy index"][1](problem)
    for compat in ("fairseq", "opennmt"):
        for change in ({"eps": 0.1}, {"smoothing": 0.1}):
            assert refused("cross_entropy", index | change | {"compat": compat}).field == "compat"
    probability = {"probability": torch.full((N, M), 1 / M)}
    for field, value in (("kind", "dense"), ("smoothing", 0.1), ("compat", "fairseq")):
        assert refused("cross_entropy", probability | {field: value}).field == field
