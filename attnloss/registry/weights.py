"""Losses over the weights of one map: how spread they are, and how far from a target."""

from attnloss.registry.spec import LossSpec, Parameter, compat, eps

_KIND = Parameter(
    "kind",
    "choice",
    choices=("index", "dense"),
    help="how to read an integer target whose shape fits both; null decides by dtype and shape",
)

SPREAD = (
    LossSpec(
        name="entropy",
        summary="How spread the weights of a query are: 0 for one key, log m for all keys alike.",
        formula="−Σ_j p_ij·log p_ij",
        paper="Zhai et al. 2023, Stabilizing Transformer Training by Preventing Attention Entropy Collapse",
        parameters=(
            compat("ear", help_text="negative entropy of the softmax of the mean map over heads (Attanasio 2022)"),
        ),
    ),
    LossSpec(
        name="normalized_entropy",
        summary="Entropy as a share of the largest that the allowed keys would give: 0 to 1.",
        formula="H_i / log M_i, M_i allowed keys; 0 if M_i = 1",
        paper="after Zhai et al. 2023",
    ),
    LossSpec(
        name="target_entropy",
        summary="Squared distance of the entropy from a wanted value.",
        formula="(H_i − τ)²",
        paper="after Zhai et al. 2023",
        parameters=(
            Parameter("tau", "number", default=0.0, minimum=0.0, maximum=1e6, help="the wanted entropy in nats"),
        ),
    ),
    LossSpec(
        name="renyi",
        summary="Rényi entropy; the larger its order, the more only strong weights count.",
        formula="log(Σ_j p_ij^α) / (1 − α)",
        paper="Rényi 1961, On Measures of Entropy and Information",
        parameters=(
            Parameter("alpha", "number", default=2.0, minimum=0.0, maximum=1e3, help="the order; 1 is the entropy"),
        ),
    ),
    LossSpec(
        name="collision",
        summary="Rényi entropy of order 2.",
        formula="−log Σ_j p_ij²",
        paper="Rényi 1961, On Measures of Entropy and Information",
    ),
    LossSpec(
        name="row_sum",
        summary="The article's sample code, kept to be checked: 0 for every input, as softmax rows sum to 1.",
        formula="−Σ_j p_ij·log(Σ_j p_ij)",
        paper="the article behind the project; degenerate, use entropy or cross_entropy",
    ),
)

SUPERVISED = (
    LossSpec(
        name="cross_entropy",
        summary="Distance of the weights from a target to be learned, or from the article's probability.",
        formula="target: −Σ_j target_ij·log p_ij; probability: −Σ_j p_ij·log probability_ij",
        paper="Liu et al. 2016, Neural Machine Translation with Supervised Attention",
        parameters=(
            Parameter("target", "target", help="the key of each query, its distribution, or some keys of each"),
            Parameter("target_weights", "shares", help="makes the target sparse: the share of each key that it names"),
            Parameter("probability", "map", help="the distribution inside the logarithm, one row per query"),
            Parameter("kind", "choice", choices=("index", "dense", "sparse"), help=_KIND.help),
            eps("log(max(x, eps)) instead of log(x)"),
            Parameter(
                "smoothing",
                "number",
                default=0.0,
                minimum=0.0,
                maximum=1.0,
                help="share of a uniform target over the allowed keys",
            ),
            compat("fairseq", "opennmt", help_text="the sum over queries; opennmt clamps the weight to 1e-18"),
        ),
    ),
    LossSpec(
        name="entmax",
        summary="Cross-entropy's kin for α-entmax, whose weights may be exactly 0.",
        formula="H(p*) − H(t) + Σ_j (p*_ij − t_ij)·s_ij, p* = α-entmax(s), H(p) = (1 − Σ p^α)/(α(α−1))",
        paper="Peters et al. 2019, Sparse Sequence-to-Sequence Models",
        parameters=(
            Parameter("target", "target", required=True, help="the key of each query, or its distribution"),
            _KIND,
            Parameter("alpha", "number", default=1.5, minimum=1.05, maximum=10.0, help="the α of entmax"),
        ),
        passes=5,
    ),
    LossSpec(
        name="sparsemax",
        summary="The same for sparsemax: 0 where the target's score leads by 1.",
        formula="½(Σ t² − Σ p*²) + Σ_j (p*_ij − t_ij)·s_ij, p* = sparsemax(s)",
        paper="Martins and Astudillo 2016, From Softmax to Sparsemax",
        parameters=(
            Parameter("target", "target", required=True, help="the key of each query, or its distribution"),
            _KIND,
        ),
        passes=5,
    ),
    LossSpec(
        name="permutation",
        summary="Each query attends to its own key, and that key is received once.",
        formula="−log p_{i,π(i)} + penalty·(1 − c_π(i))², c_j = Σ_i p_ij",
        paper="Mena et al. 2018, Learning Latent Permutations with Gumbel-Sinkhorn Networks",
        parameters=(
            Parameter("target", "index", required=True, help="the wanted key of each query"),
            Parameter("penalty", "number", default=1.0, minimum=0.0, maximum=1e6, help="weight of what keys receive"),
        ),
    ),
    LossSpec(
        name="order",
        summary="Squared distance of the mean attended position from a given one.",
        formula="(E_i[j] − target_i)²",
        paper="regression form of supervised attention",
        parameters=(Parameter("target", "positions", required=True, help="a position among the keys for each query"),),
    ),
)
