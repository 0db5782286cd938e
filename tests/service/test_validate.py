from typing import Any

import numpy as np
import pytest

from service.errors import Invalid, TooLarge
from service.job import Job
from service.settings import Settings
from service.validate import attention_job, loss_job

Q = np.arange(12.0).reshape(3, 4)
V = np.ones((3, 2))
ID = b"i" * 16


def attention(**fields: Any) -> Job:
    return attention_job({"query": Q, "key": Q, "value": V, **fields}, Settings(), ID)


def loss(**fields: Any) -> Job:
    return loss_job({"query": Q, "key": Q, **fields}, Settings(), ID)


def crossed(**fields: Any) -> dict[str, Any]:
    return {"losses": [{"name": "entropy"}, {"name": "cross_entropy", **fields}]}


def with_value(array: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    changed = array.copy()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("casual", {"casual": True}),
        ("query", {"query": None}),
        ("key", {"key": "text"}),
        ("key", {"key": np.ones((3, 5))}),
        ("key", {"key": np.ones((1, 3, 4))}),
        ("query", {"query": np.ones(4)}),
        ("value", {"value": np.ones((4, 2))}),
        ("value", {"value": None}),
        ("query[1][2]", {"query": with_value(Q, (1, 2), np.nan)}),
        ("key[0][0]", {"key": with_value(Q, (0, 0), np.inf)}),
        ("query[2][3]", {"query": with_value(Q, (2, 3), 1e39)}),
        ("query[2][3]", {"query": with_value(Q, (2, 3), 7e4), "dtype": "float16"}),
        ("query", {"query": np.ones((3, 4), bool)}),
        ("causal", {"causal": 1}),
        ("scale", {"scale": "1"}),
        ("scale", {"scale": float("inf")}),
        ("mask", {"mask": np.ones((3, 3))}),
        ("mask", {"mask": np.ones((3, 4), bool)}),
        ("mask", {"mask": np.ones((2, 3), bool)}),
        ("key_lengths", {"key_lengths": [1, 2]}),
        ("key_lengths[0]", {"key_lengths": [4]}),
        ("query_lengths[0]", {"query_lengths": [-1]}),
        ("query_lengths[0]", {"query_lengths": [1.5]}),
        ("query_lengths[0]", {"query_lengths": [True]}),
        ("dtype", {"dtype": "int8"}),
        ("encoding", {"encoding": "hex"}),
        ("return", {"return": []}),
        ("return[1]", {"return": ["lse", "loss"]}),
        ("return", {"return": "lse"}),
        ("top_k", {"return": ["top"]}),
        ("top_k", {"top_k": 0}),
        ("top_k", {"top_k": 4}),
        ("queries", {"queries": [0]}),
        ("queries", {"queries": [2, 2]}),
        ("queries", {"queries": [0, 4]}),
        ("keys", {"keys": [-1, 2]}),
        ("keys[0]", {"keys": [0.5, 2]}),
    ],
)
def test_a_wrong_field_of_attention_is_named(where: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        attention(**fields)
    assert caught.value.errors[0].field == where
    assert caught.value.detail.startswith(where)


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("losses", {"losses": []}),
        ("losses", {"losses": {"name": "entropy"}}),
        ("losses", {"losses": [{"name": "entropy", "label": str(i)} for i in range(33)]}),
        ("losses[0]", {"losses": [{"name": "nothing"}]}),
        ("losses[0]", {"losses": [{}]}),
        ("losses[0].target", {"losses": [{"name": "entropy", "target": Q}]}),
        ("losses[0].weight", {"losses": [{"name": "entropy", "weight": "1"}]}),
        ("losses[0].weight", {"losses": [{"name": "entropy", "weight": float("nan")}]}),
        ("losses[0].label", {"losses": [{"name": "entropy", "label": ""}]}),
        ("losses[1].label", {"losses": [{"name": "entropy"}, {"name": "entropy"}]}),
        ("losses[1].eps", crossed(eps=1.0)),
        ("losses[1].eps", crossed(eps=-0.1)),
        ("losses[1].kind", crossed(kind="sparser")),
        ("losses[1]", crossed()),
        ("losses[1]", crossed(target=np.eye(3), probability=np.eye(3))),
        ("losses[1].target", crossed(target=np.ones((3, 4)))),
        ("losses[1].target", crossed(target=np.array([0.0, 1.0, 2.0]))),
        ("losses[1].target", crossed(target=np.eye(3), kind="index")),
        ("losses[1].target", crossed(target=[0, 1, 2])),
        ("losses[1].target[0][0]", crossed(target=with_value(np.eye(3), (0, 0), np.nan))),
        ("losses[1].probability", crossed(probability=np.ones((3, 2)))),
        ("losses[1].probability", crossed(probability=np.eye(3, dtype=bool))),
        ("probability", {"probability": np.ones((2, 3))}),
        ("reduction", {"reduction": "max"}),
        ("return[0]", {"return": ["gradient"]}),
        ("value", {"return": ["output"]}),
        ("query[1][2]", {"query": with_value(Q, (1, 2), np.nan)}),
    ],
)
def test_a_wrong_field_of_a_loss_is_named(where: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        loss(**fields)
    assert caught.value.errors[0].field == where


def test_every_wrong_field_is_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        attention(casual=True, scale="1", dtype="int8")
    assert {problem.field for problem in caught.value.errors} == {"casual", "scale", "dtype"}


def test_a_target_whose_kind_is_ambiguous_is_refused_until_it_is_given() -> None:
    inputs = {"query": np.ones((2, 2, 4)), "key": np.ones((2, 2, 4))}
    entry = {"name": "cross_entropy", "target": np.eye(2, dtype=np.int64)}
    with pytest.raises(Invalid, match="ambiguous") as caught:
        loss(**inputs, losses=[entry])
    assert caught.value.errors[0].field == "losses[0].target"
    for kind in ("index", "dense"):
        job = loss(**inputs, losses=[entry | {"kind": kind}])
        assert job.options["losses"][0]["parameters"]["kind"] == kind


def test_without_losses_it_is_entropy_or_cross_entropy_to_the_given_probability() -> None:
    assert [entry["name"] for entry in loss().options["losses"]] == ["entropy"]
    job = loss(probability=np.full((3, 3), 1 / 3))
    assert [entry["name"] for entry in job.options["losses"]] == ["cross_entropy"]
    assert "losses.0.probability" in job.arrays


def test_a_job_over_the_cost_limit_is_too_large() -> None:
    with pytest.raises(TooLarge, match="9 score elements"):
        attention_job({"query": Q, "key": Q, "return": ["lse"]}, Settings(max_job_cost=8), ID)


def test_arrays_travel_contiguous_in_rank_4() -> None:
    job = attention(query=Q.T.copy().T, mask=np.ones((3, 3), bool), key_lengths=[2])
    assert {name: array.shape for name, array in job.arrays.items()} == {
        "query": (1, 1, 3, 4),
        "key": (1, 1, 3, 4),
        "value": (1, 1, 3, 2),
        "mask": (1, 1, 3, 3),
        "key_lengths": (1,),
    }
    assert all(array.flags.c_contiguous for array in job.arrays.values())


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ({}, {"query": np.ones((5, 4))}, True),
        ({}, {"key_lengths": [1]}, True),
        ({"return": ["lse", "max"]}, {"return": ["max", "lse"]}, True),
        ({}, {"causal": True}, False),
        ({}, {"scale": 2.0}, False),
        ({}, {"dtype": "float64"}, False),
        ({}, {"mask": np.ones((3, 3), bool)}, False),
        ({}, {"return": ["output"]}, False),
        ({}, {"value": np.ones((3, 5))}, False),
    ],
)
def test_jobs_share_a_group_where_one_call_can_compute_both(left: Any, right: Any, same: bool) -> None:
    assert (attention(**left).group == attention(**right).group) == same
