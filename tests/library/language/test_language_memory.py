"""Nothing of size tokens × vocabulary is made, forward or backward, and the process shows it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from attnloss import language
from attnloss.language import tiling

ROOT = Path(__file__).parents[3]
TOKENS, WORDS, WIDTH = 128, 2048, 8


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation made anew, views of what is known apart."""

    elements = 0

    def __init__(self, *known: torch.Tensor) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, torch.Tensor) and made.untyped_storage().data_ptr() not in self.known:
                self.elements = max(self.elements, made.untyped_storage().nbytes() // made.element_size())
        return result


@pytest.mark.parametrize("grad", [False, True], ids=["forward", "forward and backward"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_no_tensor_beyond_a_tile_and_the_inputs_is_made(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, grad: bool
) -> None:
    monkeypatch.setattr(tiling, "TILE_LOGITS", 1 << 12)
    hidden, weight = (torch.randn(size, WIDTH).to(dtype).requires_grad_(grad) for size in (TOKENS, WORDS))
    with LargestTensor(hidden, weight) as seen:
        scores = language.token_scores(hidden, weight, torch.arange(TOKENS), entropy=True, top_k=5)
        loss = language.cross_entropy(hidden, weight, torch.arange(TOKENS), smoothing=0.1, z_coefficient=1e-4)
        if grad:
            (loss + scores.entropy.sum() + scores.log_prob.sum() + scores.top.values.sum()).backward()
    assert 0 < seen.elements <= max(1 << 12, WORDS * WIDTH)


def test_given_logits_in_bfloat16_are_never_widened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "TILE_LOGITS", 1 << 12)
    logits = torch.randn(TOKENS, WORDS, dtype=torch.bfloat16)
    with LargestTensor(logits) as seen:
        language.cross_entropy_from_logits(logits, torch.arange(TOKENS), smoothing=0.1)
    assert seen.elements <= 1 << 12


PROGRAM = """
import sys, torch
from attnloss import language
from benchmarks.measure import extra_peak_mib
torch.set_num_threads(1)
def run(tokens, words):
    hidden, weight = (torch.randn(size, 32, requires_grad=True) for size in (tokens, words))
    targets = torch.randint(words, (tokens,))
    def loss():
        return language.cross_entropy(hidden, weight, targets, smoothing=float(sys.argv[1]))
    return extra_peak_mib(lambda: torch.autograd.grad(loss(), (hidden, weight)))
run(16, 64)
print(run(2048, 16384))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak can be forgotten only on Linux")
@pytest.mark.parametrize("smoothing", ["0", "0.1"], ids=["auto may pick linear", "chunked"])
def test_a_fresh_process_stays_far_below_tokens_times_vocabulary(smoothing: str) -> None:
    command = [sys.executable, "-c", PROGRAM, smoothing]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    logits_mib = 2048 * 16384 * 4 / 2**20
    assert float(done.stdout) <= logits_mib / 1.5 if smoothing == "0" else logits_mib / 4
