"""Buffers are reused where nobody can notice."""

import threading

import pytest
import torch

from attnloss import attention, workspace

pytestmark = pytest.mark.usefixtures("fresh_workspace")

NAMES = ("output", "weights", "lse", "entropy", "max", "received")


def inputs(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(2, 3, 17, 5, dtype=dtype) for _ in range(3))


def test_a_result_is_not_overwritten_by_the_next_call() -> None:
    result = attention(*inputs(), returns=NAMES)
    kept = {name: getattr(result, name).clone() for name in NAMES}
    attention(*inputs(), returns=NAMES)
    assert all(torch.equal(getattr(result, name), kept[name]) for name in NAMES)


def test_dtypes_sizes_and_inference_mode_may_alternate() -> None:
    for dtype in (torch.float32, torch.float64, torch.float32):
        for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
            with mode():
                small, large = inputs(dtype), tuple(tensor.repeat(1, 1, 3, 1) for tensor in inputs(dtype))
                for tensors in (large, small, large):
                    got = attention(*tensors, returns=NAMES)
                    truth = attention(*tensors, returns=NAMES, backend="reference")
                    for name in NAMES:
                        torch.testing.assert_close(getattr(got, name), getattr(truth, name))


def test_whoever_asks_while_the_workspace_is_lent_gets_another() -> None:
    with workspace.borrowed() as first, workspace.borrowed() as second:
        assert first is not second


def test_the_workspace_comes_back_after_a_failure() -> None:
    with pytest.raises(RuntimeError), workspace.borrowed() as lent:
        raise RuntimeError
    with workspace.borrowed() as again:
        assert again is lent


def test_large_buffers_are_not_kept() -> None:
    like = torch.zeros(1)
    with workspace.borrowed() as lent, torch.no_grad():
        small = lent.take("small", (10,), like)
        lent.take("large", (workspace.MOST_KEPT_BYTES,), like)
    with workspace.borrowed() as lent, torch.no_grad():
        assert lent.take("small", (10,), like).data_ptr() == small.data_ptr()
        assert len(lent._buffers) == 1


def test_threads_compute_the_same_at_once() -> None:
    tensors = [inputs() for _ in range(4)]
    truths = [attention(*one, returns=NAMES) for one in tensors]
    failures: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            got = attention(*tensors[number], returns=NAMES)
            if not all(torch.equal(getattr(got, name), getattr(truths[number], name)) for name in NAMES):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
