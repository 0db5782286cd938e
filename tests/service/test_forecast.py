import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import forecast as forecast_module
from service.cost import CostModel
from service.forecast import Forecast
from service.job import Job

MODEL = CostModel(call_s=1e-3, element_s=1e-6, padded_element_s=2e-6)


def a_job(cost: int = 1000, group: str = "a") -> Job:
    return Job(b"j" * 16, "attention", {}, {}, group, 1, 1, 1, cost, cost, 1.0, 0.0)


def a_forecast() -> Forecast:
    forecast = Forecast()
    forecast.cost_model = MODEL
    return forecast


def test_nothing_is_foretold_before_anything_was_learned() -> None:
    assert a_forecast().expect_s(a_job()) == 0
    assert Forecast().expect_s(a_job()) == 0


def test_what_a_job_took_is_expected_of_the_next_one_like_it() -> None:
    forecast = a_forecast()
    forecast.learn(a_job(), 0.5)
    assert forecast.expect_s(a_job()) == pytest.approx(0.5)


def test_a_larger_job_is_expected_to_take_longer_by_the_cost_model() -> None:
    forecast = a_forecast()
    forecast.learn(a_job(1000), 0.002)  # as the model says
    assert forecast.expect_s(a_job(9000)) == pytest.approx(0.01)


def test_each_group_has_a_factor_of_its_own_and_others_the_common_one() -> None:
    forecast = a_forecast()
    for _ in range(100):
        forecast.learn(a_job(group="slow"), 0.2)
    for _ in range(100):
        forecast.learn(a_job(group="fast"), 0.002)
    assert forecast.expect_s(a_job(group="slow")) == pytest.approx(0.2)
    assert forecast.expect_s(a_job(group="fast")) == pytest.approx(0.002)
    assert forecast.expect_s(a_job(group="new")) == pytest.approx(0.002, rel=1e-3)


@given(st.floats(1e-4, 10), st.floats(1e-4, 10))
def test_it_follows_a_change_and_never_leaves_what_was_seen(before_s: float, after_s: float) -> None:
    forecast = a_forecast()
    forecast.learn(a_job(), before_s)
    low, high = sorted((before_s, after_s))
    for _ in range(60):
        forecast.learn(a_job(), after_s)
        assert low * (1 - 1e-9) <= forecast.expect_s(a_job()) <= high * (1 + 1e-9)
    assert forecast.expect_s(a_job()) == pytest.approx(after_s, abs=1e-5 * max(before_s, after_s))


def test_it_remembers_a_bounded_number_of_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "_MOST_GROUPS", 3)
    forecast = a_forecast()
    for group in "abcd":
        forecast.learn(a_job(group=group), 0.1)
    assert len(forecast._factors) == 3


def test_a_job_that_was_never_computed_teaches_nothing() -> None:
    forecast = a_forecast()
    forecast.learn(a_job(), 0.5)
    for _ in range(50):
        forecast.learn(a_job(), 0.0)
    assert forecast.expect_s(a_job()) == pytest.approx(0.5)
