import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.text.reorder import by_attention, by_received

coarse = st.sampled_from([0.0, 0.25, 0.5, 1.0])
maps = st.integers(0, 8).flatmap(lambda count: arrays(np.float32, (count, count), elements=coarse))


@given(maps)
def test_both_orders_are_permutations_and_leave_the_weights_alone(weights: np.ndarray) -> None:
    count, before = len(weights), weights.copy()
    seen_by = np.arange(count)[::-1]
    for order in (by_received(weights.sum(0), seen_by), by_attention(weights), by_attention(weights, seen_by)):
        assert sorted(order) == list(range(count))
    np.testing.assert_array_equal(weights, before)


@given(maps)
def test_words_come_by_falling_mean_received_attention_ties_to_the_earlier(weights: np.ndarray) -> None:
    received, seen_by = weights.sum(0), np.arange(1, len(weights) + 1)
    means = (received / seen_by).tolist()
    order = by_received(received, seen_by)
    assert order == sorted(range(len(means)), key=lambda word: (-means[word], word))


@given(maps)
def test_the_walk_always_goes_on_to_the_closest_word_left(weights: np.ndarray) -> None:
    order = by_attention(weights)
    for step in range(1, len(order)):
        here, left = order[step - 1], sorted(order[step:])
        assert order[step] == max(left, key=lambda word: weights[here, word] + weights[word, here])


def test_a_word_that_few_can_see_is_not_behind_for_that() -> None:
    assert by_received(np.array([2.0, 1.5, 0.9]), np.array([3, 2, 1])) == [2, 1, 0]


def test_a_word_that_no_query_sees_comes_last() -> None:
    assert by_received(np.array([0.0, 0.5]), np.array([0, 2])) == [1, 0]


def test_the_walk_starts_by_mean_received_attention_and_follows_the_weights() -> None:
    causal = np.array([[1.0, 0.0, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0], [0.2, 0.7, 0.1, 0.0], [0.1, 0.0, 0.0, 0.9]])
    assert by_attention(causal) == [0, 1, 2, 3]
    assert by_attention(causal, np.array([4, 3, 2, 1])) == [3, 0, 1, 2]
