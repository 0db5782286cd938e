"""Losses between two maps, and between the heads of one."""

from attnloss.registry.spec import LossSpec, Parameter, compat

_OTHER = Parameter(
    "other", "other", required=True, help="query, key and scale of the second map, R; P is the request's"
)
_TEMPERATURE = Parameter(
    "temperature", "number", default=1.0, minimum=1e-3, maximum=1e2, help="divides the scores of both maps"
)
_OF_TWO_MAPS = (_OTHER, _TEMPERATURE)

TWO_MAPS = (
    LossSpec(
        name="kl",
        summary="Kullback-Leibler divergence of the map from another one.",
        formula="Σ_j p_ij·log(p_ij / r_ij)",
        needs=("query", "key", "other"),
        paper="Kullback and Leibler 1951; as distillation, Wang et al. 2020, MiniLM",
        parameters=(
            *_OF_TWO_MAPS,
            compat("minilm", help_text="KL(R‖P), mean over heads and queries of a sequence, then over sequences"),
        ),
    ),
    LossSpec(
        name="reverse_kl",
        summary="Kullback-Leibler divergence of the other map from this one: distillation with R as the teacher.",
        formula="Σ_j r_ij·log(r_ij / p_ij)",
        needs=("query", "key", "other"),
        paper="Hinton et al. 2015, Distilling the Knowledge in a Neural Network",
        parameters=_OF_TWO_MAPS,
    ),
    LossSpec(
        name="js",
        summary="Jensen-Shannon divergence: symmetric, 0 to log 2.",
        formula="½·KL(p‖m) + ½·KL(r‖m), m = (p + r)/2",
        needs=("query", "key", "other"),
        paper="Lin 1991, Divergence Measures Based on the Shannon Entropy",
        parameters=_OF_TWO_MAPS,
    ),
    LossSpec(
        name="hellinger",
        summary="Squared Hellinger distance: symmetric, 0 to 1.",
        formula="1 − Σ_j √(p_ij·r_ij)",
        needs=("query", "key", "other"),
        paper="Hellinger 1909",
        parameters=_OF_TWO_MAPS,
    ),
    LossSpec(
        name="total_variation",
        summary="Share of the weight that would have to move: 0 to 1.",
        formula="½·Σ_j |p_ij − r_ij|",
        needs=("query", "key", "other"),
        paper="Jain and Wallace 2019, Attention is not Explanation",
        parameters=_OF_TWO_MAPS,
    ),
    LossSpec(
        name="map_mse",
        summary="Mean squared difference of the weights.",
        formula="(1/M_i)·Σ_j (p_ij − r_ij)², M_i allowed keys",
        needs=("query", "key", "other"),
        paper="after Jiao et al. 2020, TinyBERT",
        parameters=_OF_TWO_MAPS,
    ),
    LossSpec(
        name="cosine",
        summary="One minus the cosine between the weights.",
        formula="1 − Σ_j p_ij·r_ij / √(Σ_j p_ij²·Σ_j r_ij²)",
        needs=("query", "key", "other"),
        paper="after Clark et al. 2019, What Does BERT Look At?",
        parameters=_OF_TWO_MAPS,
    ),
    LossSpec(
        name="score_mse",
        summary="Mean squared difference of the scores, before the softmax.",
        formula="(1/M_i)·Σ_j (s_ij − t_ij)², M_i allowed keys",
        needs=("query", "key", "other"),
        paper="Jiao et al. 2020, TinyBERT",
        parameters=(
            _OTHER,
            compat("tinybert", help_text="scores ≤ −100 count as 0, mean over all cells, padding included"),
        ),
    ),
)

HEADS = (
    LossSpec(
        name="disagreement",
        summary="Mean cosine between the maps of two heads.",
        formula="mean over a < b of ⟨P^a, P^b⟩ / (‖P^a‖·‖P^b‖), per batch entry",
        paper="Li et al. 2018, Multi-Head Attention with Disagreement Regularization",
        per_query=False,
    ),
    LossSpec(
        name="orthogonality",
        summary="Squared distance of the heads' overlaps from orthonormal.",
        formula="mean over i of ‖A_i·A_iᵀ − I‖², A_i the heads' weights of query i, per batch entry",
        paper="Lin et al. 2017, A Structured Self-attentive Sentence Embedding",
        per_query=False,
    ),
)
