import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import cost
from service.cost import CostModel, measure

models = st.builds(
    lambda call_s, element_s, factor, job_s: CostModel(call_s, element_s, element_s * factor, job_s),
    st.sampled_from([1e-4, 1e-3]),
    st.sampled_from([1e-9, 1e-8]),
    st.sampled_from([1.0, 3.0]),
    st.sampled_from([0.0, 2e-5, 1e-4]),
)


@given(models)
def test_the_model_of_a_device_is_found_from_the_times_of_its_calls(device: CostModel) -> None:
    now_s = 0.0

    def run(elements: int, jobs: int, padded: bool) -> None:
        nonlocal now_s
        now_s += device.predict_s(elements, padded, jobs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "perf_counter", lambda: now_s)
        found = measure(run, small=1 << 10, large=1 << 18)
    for part in ("call_s", "element_s", "padded_element_s", "job_s"):
        assert getattr(found, part) == pytest.approx(getattr(device, part), rel=1e-3, abs=1e-9), part


def test_a_device_whose_times_make_no_sense_still_gives_a_model_without_negative_parts() -> None:
    now_s = iter([0.0, 5.0, 5.0, 6.0, 6.0, 6.0, 6.0, 6.1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "perf_counter", lambda: next(now_s))
        found = measure(lambda elements, jobs, padded: None, small=1 << 10, large=1 << 18, repetitions=1)
    assert min(found.call_s, found.element_s, found.padded_element_s) > 0
    assert found.job_s >= 0


def test_a_call_is_predicted_by_its_parts() -> None:
    model = CostModel(call_s=1.0, element_s=0.1, padded_element_s=0.2, job_s=10.0)
    assert model.predict_s(30, padded=False) == pytest.approx(14.0)
    assert model.predict_s(30, padded=True, jobs=2) == pytest.approx(27.0)
