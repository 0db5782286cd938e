"""Image of the statistics of a map."""

import torch
from matplotlib.figure import Figure

from attnloss import attention
from docs.plots.canvas import COLOURS, heat_map, panels


def statistics() -> Figure:
    """One map, and what is told of its queries and keys."""
    generator = torch.Generator().manual_seed(4)
    n, m = 8, 10
    query, key = (2 * torch.randn(size, 4, generator=generator) for size in (n, m))
    result = attention(query, key, causal=True, returns=["weights", "entropy", "max", "received", "top"], top_k=1)
    assert result.weights is not None
    assert result.entropy is not None
    assert result.max is not None
    assert result.received is not None
    assert result.top is not None
    at = torch.arange(n).numpy()
    figure, (middle, right, below) = panels(3, width=2.9, height=2.8, title_lines=2)
    heat_map(middle, result.weights, title="weights, causal, ends aligned\n● top key of each query")
    middle.plot(result.top.index[:, 0].numpy() + 0.5, at + 0.5, "o", color=COLOURS[1], markersize=4)
    right.barh(at - 0.2, result.entropy.exp().numpy(), 0.4, color=COLOURS[0], label="effective keys e^entropy")
    right.barh(at + 0.2, result.max.numpy(), 0.4, color=COLOURS[1], label="max, the largest weight")
    right.set(title="of each query", ylabel="query i", ylim=(n - 0.5, -2.2), xlim=(0, 7.5), yticks=[0, n - 1])
    right.legend(loc="upper right")
    below.bar(range(m), result.received.numpy(), color=COLOURS[2])
    below.set(title="received, of each key", xlabel="key j", ylabel="Σ_i p_ij", xticks=[0, m - 1])
    return figure


FIGURES = {"statistics": statistics}
