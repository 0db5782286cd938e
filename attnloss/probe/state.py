"""What an attention call must know of the probe that it happens under."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor, nn

from attnloss.probe.sequences import Sequences
from attnloss.probe.sites import Site

if TYPE_CHECKING:
    from attnloss.probe.probing import Probe

PROBES: "WeakKeyDictionary[nn.Module, Probe]" = WeakKeyDictionary()
"""The probe that each module is under."""

CHECKED: "WeakSet[nn.Module]" = WeakSet()
"""Models that were seen to let no query see a later key."""


@dataclass(frozen=True, eq=False)
class Turn:
    """One attention call of a forward.

    `chosen` says whether something is asked of it; `again` is the second call of a checkpointed layer, made by
    backward. `queries` is the model's mask of the decoder's texts; `first` asks for a check that causality holds.
    """

    site: Site = "decoder"
    layer: int = -1
    chosen: bool = False
    again: bool = False
    first: bool = False
    queries: Tensor | None = None
    sequences: Sequences | None = None
