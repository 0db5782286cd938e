import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.text.windows import Window, windows

sizes = st.integers(2, 40).flatmap(lambda context: st.tuples(st.just(context), st.integers(1, context - 1)))


@given(st.integers(1, 300), sizes)
def test_every_token_but_the_first_is_scored_exactly_once(n_tokens: int, size: tuple[int, int]) -> None:
    scored = [token for each in windows(n_tokens, *size) for token in range(each.first_scored, each.stop)]
    assert scored == list(range(1, n_tokens))


@given(st.integers(1, 300), sizes)
def test_windows_are_a_stride_apart_fit_the_context_and_score_something(n_tokens: int, size: tuple[int, int]) -> None:
    context, stride = size
    found = windows(n_tokens, context, stride)
    assert [each.start for each in found] == [stride * k for k in range(len(found))]
    assert all(each.stop - each.start <= context and each.first_scored > each.start for each in found)
    assert all(each.first_scored < each.stop for each in found[1:])
    assert found[-1].stop == n_tokens


@given(st.integers(1, 300), sizes)
def test_later_windows_score_no_token_without_enough_before_it(n_tokens: int, size: tuple[int, int]) -> None:
    context, stride = size
    assert all(each.first_scored - each.start >= context - stride for each in windows(n_tokens, context, stride)[1:])


def test_a_text_within_the_context_is_one_window() -> None:
    assert windows(8, 8, 3) == [Window(0, 8, 1)]
    assert windows(9, 8, 3) == [Window(0, 8, 1), Window(3, 9, 8)]


@pytest.mark.parametrize("stride", [0, 8, 9, -1])
def test_a_stride_that_is_none_is_refused_with_both_sizes(stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride is {stride}, context 8"):
        windows(5, 8, stride)
