"""Training with a budget of running time, checkpoints and resumption."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from transformers import LlamaForCausalLM

from default_model.corpus import CorpusError
from default_model.network import config_for, loss_of, new_network, optimizers_for
from default_model.reporting import Reporter
from default_model.stream import BATCH_TOKENS, Batches, Tokens
from default_model.vocabulary import load_vocabulary

_CHECKPOINT: Final = "checkpoint.pt"
_LOG_SECONDS: Final = 30.0
_PROBE_TOKENS: Final = 512
_WARMUP_SHARE: Final = 0.02
_FINAL_RATE_SHARE: Final = 0.01
_CLIP_NORM: Final = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What `train` is asked for; a budget left at None does not bound."""

    minutes: float | None
    tokens: int | None
    hidden: int
    layers: int
    rate: float
    threads: int
    checkpoint_seconds: float
    compile: bool
    seed: int = 0

    def progress(self, running_s: float, tokens: int) -> float:
        """Share of the budget used up, 0 to 1."""
        of_time = running_s / (60 * self.minutes) if self.minutes else 0.0
        of_tokens = tokens / self.tokens if self.tokens else 0.0
        return min(1.0, max(of_time, of_tokens))


@dataclass(slots=True)
class Place:
    """How far training came; `running_s` counts the processor's seconds per thread, so pauses cost nothing."""

    step: int = 0
    tokens: int = 0
    running_s: float = 0.0
    epoch_number: int = 0
    cursor: int = 0


def rate_share(progress: float) -> float:
    """Linear warm-up, then a cosine that falls to a hundredth at the end of the budget."""
    if progress < _WARMUP_SHARE:
        return progress / _WARMUP_SHARE
    angle = math.pi * (progress - _WARMUP_SHARE) / (1 - _WARMUP_SHARE)
    return _FINAL_RATE_SHARE + (1 - _FINAL_RATE_SHARE) * 0.5 * (1 + math.cos(angle))


def train(work: Path, plan: Plan) -> None:
    """Trains until the budget is spent, from the last checkpoint on where there is one."""
    torch.set_num_threads(plan.threads)
    tokenizer = load_vocabulary(work)
    tokens = Tokens.of_file(work / "train.jsonl", tokenizer)
    probe = _probe(Tokens.of_file(work / "heldout.jsonl", tokenizer))
    config = config_for(tokenizer.get_vocab_size(), tokens.bos, plan.hidden, plan.layers)
    network = new_network(config, plan.seed)
    optimizers = optimizers_for(network, plan.rate)
    place = _restored(work, network, optimizers)
    batches = Batches(tokens, plan.seed, place.epoch_number, place.cursor)
    loss_function = torch.compile(loss_of, dynamic=False) if plan.compile else loss_of
    with Reporter(work / "train.log") as reporter:
        parameters = sum(weight.numel() for weight in network.parameters())
        reporter.wrote(f"{parameters:,} parameters, {len(tokens.ids):,} distinct tokens; begins at step {place.step}")
        _run(work, plan, network, optimizers, place, batches, loss_function, probe, reporter)


def _run(
    work: Path,
    plan: Plan,
    network: LlamaForCausalLM,
    optimizers: list[torch.optim.Optimizer],
    place: Place,
    batches: Batches,
    loss_function: Callable[..., torch.Tensor],
    probe: torch.Tensor,
    reporter: Reporter,
) -> None:
    mean_loss, began_at, began_with = float("nan"), time.process_time(), place.running_s
    logged_at, saved_at, saved_running_s = time.monotonic(), time.monotonic(), place.running_s
    logged_tokens = place.tokens
    while (progress := plan.progress(place.running_s, place.tokens)) < 1:
        rate = plan.rate * rate_share(progress)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        inputs, targets = batches.take(place.step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_function(network, inputs, targets)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        mean_loss = loss.item() if math.isnan(mean_loss) else 0.98 * mean_loss + 0.02 * loss.item()
        if not math.isfinite(mean_loss):
            raise CorpusError("the loss is no longer finite: lower --rate and begin anew")
        place.step, place.tokens = place.step + 1, place.tokens + BATCH_TOKENS
        place.epoch_number, place.cursor = batches.epoch_number, batches.cursor
        place.running_s = began_with + (time.process_time() - began_at) / plan.threads
        now, share = time.monotonic(), plan.progress(place.running_s, place.tokens)
        speed = (place.tokens - logged_tokens) / (now - logged_at)
        reporter.moved(share, mean_loss, speed)
        if now - logged_at > _LOG_SECONDS:
            reporter.wrote(_line(place, mean_loss, rate, speed), share)
            logged_at, logged_tokens = now, place.tokens
        if now - saved_at > plan.checkpoint_seconds and place.running_s > saved_running_s:
            _save(work, network, optimizers, place)
            reporter.wrote(f"checkpoint at step {place.step}: held-out {_probe_nats(network, probe):.3f} nats/token")
            saved_at, saved_running_s = time.monotonic(), place.running_s
    _save(work, network, optimizers, place)
    reporter.wrote(f"done at step {place.step}: held-out {_probe_nats(network, probe):.3f} nats/token")


def _line(place: Place, loss: float, rate: float, speed: float) -> str:
    return (
        f"step {place.step} · {place.tokens / 1e6:.2f} M tokens · loss {loss:.3f} · rate {rate:.2e} · "
        f"{speed:,.0f} tokens/s · {place.running_s / 60:.1f} min running"
    )


def _probe(tokens: Tokens) -> torch.Tensor:
    """A few rows of held-out text, to watch progress by."""
    stream = tokens.epoch(0, 0)[: 16 * _PROBE_TOKENS].astype(np.int64)
    return torch.from_numpy(stream.reshape(-1, _PROBE_TOKENS))


@torch.no_grad()
def _probe_nats(network: LlamaForCausalLM, rows: torch.Tensor) -> float:
    return float(np.mean([loss_of(network, row[None, :-1], row[None, 1:]).item() for row in rows]))


def _save(work: Path, network: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], place: Place) -> None:
    state = {
        "config": network.config.to_dict(),
        "network": network.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "place": asdict(place),
    }
    torch.save(state, work / (_CHECKPOINT + ".partial"))
    os.replace(work / (_CHECKPOINT + ".partial"), work / _CHECKPOINT)  # noqa: PTH105 - atomic on every system


def load_checkpoint(work: Path) -> dict[str, Any]:
    """The last checkpoint."""
    path = work / _CHECKPOINT
    if not path.is_file():
        raise CorpusError(f"{path} is missing: run the stage `train` first")
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def _restored(work: Path, network: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer]) -> Place:
    if not (work / _CHECKPOINT).is_file():
        return Place()
    state = load_checkpoint(work)
    try:
        network.load_state_dict(state["network"])
    except RuntimeError:
        raise CorpusError(
            f"{work / _CHECKPOINT} is of another size: pass its --hidden and --layers, or remove it to begin anew"
        ) from None
    for optimizer, its_state in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(its_state)
    return Place(**state["place"])
