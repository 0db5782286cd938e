"""Statistics and losses of the attention of any Hugging Face model, while it runs, without n×n, with gradients.

`with probe(model, returns=["entropy"], losses=[{"name": "entropy"}]) as p:` switches the model to an attention
function of this package through transformers' attention interface; each forward of the model then leaves
`p.records` and `p.loss(...)`. Importing this package does not import transformers, and registers nothing.
"""

from attnloss.probe.errors import ProbeError
from attnloss.probe.interface import ATTENTION, install
from attnloss.probe.probing import Probe, probe
from attnloss.probe.record import AttentionRecord
from attnloss.probe.sites import Site, heads_of, sites

__all__ = ["ATTENTION", "AttentionRecord", "Probe", "ProbeError", "Site", "heads_of", "install", "probe", "sites"]
