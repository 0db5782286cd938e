from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codec import encode_arrays, encode_json
from service.errors import TooLarge
from service.limits import check_answer
from service.settings import Settings
from service.validate import attention_job, loss_job

ID = b"i" * 16


def lse_of(n: int, m: int, lead: tuple[int, ...] = (), **limits: Any) -> int:
    fields = {"query": np.ones((*lead, n, 2)), "key": np.ones((*lead, m, 2)), "return": ["lse"]}
    return attention_job(fields, Settings(**limits), ID).cost


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (2,), (2, 3)]))
def test_the_cost_is_batch_times_heads_times_n_times_m(n: int, m: int, lead: tuple[int, ...]) -> None:
    assert lse_of(n, m, lead) == int(np.prod(lead, dtype=int)) * n * m


def test_a_gradient_costs_three_passes() -> None:
    fields = {"query": np.ones((2, 2)), "key": np.ones((3, 2)), "return": ["grad"]}
    assert loss_job(fields, Settings(), ID).cost == 18


def test_a_job_at_the_limit_is_accepted_and_one_over_it_is_refused_with_both_numbers() -> None:
    assert lse_of(4, 5, max_job_cost=20) == 20
    with pytest.raises(TooLarge, match=r"20 score.*limit is 19"):
        lse_of(4, 5, max_job_cost=19)


@pytest.mark.parametrize("encoding", ["json", "base64"])
def test_an_answer_estimated_over_the_limit_is_refused_with_advice(encoding: str) -> None:
    fields = {"query": np.ones((50, 2)), "key": np.ones((50, 2)), "return": ["weights"], "encoding": encoding}
    with pytest.raises(TooLarge, match=r"limit is 10000.*top_k"):
        attention_job(fields, Settings(max_answer_bytes=10_000), ID)
    window = {"queries": [0, 10], "keys": [0, 10]}
    attention_job(fields | window, Settings(max_answer_bytes=10_000), ID)


@given(st.sampled_from(["json", "base64"]), st.sampled_from(["float32", "float64"]), st.integers(20, 60))
def test_the_estimate_is_within_a_factor_of_two_of_the_answer(encoding: str, dtype: str, n: int) -> None:
    fields = {"query": np.ones((n, 2)), "key": np.ones((n, 2)), "return": ["weights"]}
    fields |= {"encoding": encoding, "dtype": dtype}
    answer = {"weights": np.random.default_rng(n).random((n, n)).astype(dtype)}
    size = len(encode_json(encode_arrays(answer) if encoding == "base64" else answer))
    attention_job(fields, Settings(max_answer_bytes=2 * size), ID)
    with pytest.raises(TooLarge):
        attention_job(fields, Settings(max_answer_bytes=size // 2), ID)


def test_an_encoded_answer_over_the_limit_is_refused() -> None:
    check_answer(100, Settings(max_answer_bytes=100))
    with pytest.raises(TooLarge, match="101"):
        check_answer(101, Settings(max_answer_bytes=100))
