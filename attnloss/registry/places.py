"""Losses over where the weights of one map lie, and over what keys receive."""

from attnloss.registry.spec import LossSpec, Parameter, compat, eps

PLACES = (
    LossSpec(
        name="guided",
        summary="Cost of weights away from the diagonal.",
        formula="Σ_j p_ij·(1 − exp(−(j/M − i/N)²/(2σ²)))",
        paper="Tachibana et al. 2017, Efficiently Trainable Text-to-Speech System with Guided Attention",
        parameters=(
            Parameter(
                "sigma",
                "number",
                minimum=1e-3,
                maximum=1e3,
                help="width of the diagonal; null: 0.4, with compat speechbrain 0.2",
            ),
            compat(
                "espnet", "speechbrain", help_text="mean over the valid cells; speechbrain over all, padding included"
            ),
        ),
    ),
    LossSpec(
        name="monotonic",
        summary="How far the mean attended position goes back from one query to the next.",
        formula="max(E_i[j] − E_{i+1}[j], 0)",
        paper="after Raffel et al. 2017, Online and Linear-Time Attention by Enforcing Monotonic Alignments",
    ),
    LossSpec(
        name="distance",
        summary="Mean distance in tokens over which a query attends, ends aligned.",
        formula="Σ_j p_ij·|i − N + M − j|",
        paper="after Sukhbaatar et al. 2019, Adaptive Attention Span in Transformers",
    ),
    LossSpec(
        name="variance",
        summary="Spread of the attended positions.",
        formula="E_i[j²] − E_i[j]²",
        paper="after Raffel et al. 2017",
    ),
    LossSpec(
        name="sink",
        summary="Mass that goes to a few chosen keys, the first one by default.",
        formula="Σ_{k ∈ keys} p_ik",
        paper="Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks",
        parameters=(Parameter("keys", "indices", default=(0,), minimum=0.0, help="the chosen keys"),),
    ),
    LossSpec(
        name="coverage",
        summary="Overlap of each query's weights with those of all queries before it.",
        formula="Σ_j min(p_ij, Σ_{t<i} p_tj)",
        paper="See et al. 2017, Get To The Point: Summarization with Pointer-Generator Networks",
    ),
    LossSpec(
        name="doubly_stochastic",
        summary="Squared distance of what each key receives from 1.",
        formula="Σ_j (1 − Σ_i p_ij)², per head",
        paper="Xu et al. 2015, Show, Attend and Tell",
        per_query=False,
    ),
    LossSpec(
        name="forward_sum",
        summary="CTC over the log weights: the sum over all ways through the keys in order.",
        formula="−log Σ_π Π_i q_{i,π_i}, q = softmax([blank, log p]), per head",
        paper="Badlani et al. 2022, One TTS Alignment To Rule Them All",
        parameters=(
            Parameter(
                "blank", "number", default=-1.0, minimum=-100.0, maximum=100.0, help="log-probability of the blank"
            ),
            compat("nemo", help_text="divided by the keys, infinite as 0, mean over the batch"),
        ),
        per_query=False,
        passes=4,
        row_cost=4096,
    ),
    LossSpec(
        name="bin",
        summary="Cross-entropy to a hard monotonic alignment, found in the weights if none is given.",
        formula="−log p_{i,a_i}",
        paper="Badlani et al. 2022, One TTS Alignment To Rule Them All",
        parameters=(
            Parameter("target", "index", help="the key of each query; null: the likeliest way through all keys"),
            eps("log(max(p, eps)) instead of log(p)"),
        ),
        passes=4,
        row_cost=4096,
    ),
)
