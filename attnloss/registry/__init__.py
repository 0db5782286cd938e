"""What losses and statistics exist: names, parameters with ranges, needs. Imports no torch.

A process that only validates requests reads this table; `attnloss.losses` holds the computation, and a test
keeps both in step.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from attnloss.registry.maps import HEADS, TWO_MAPS
from attnloss.registry.places import PLACES
from attnloss.registry.spec import LossSpec, Parameter
from attnloss.registry.weights import SPREAD, SUPERVISED

__all__ = ["LOSSES", "STATISTICS", "LossSpec", "Parameter", "check_parameters"]

STATISTICS: tuple[str, ...] = ("output", "weights", "lse", "entropy", "max", "received", "top")

LOSSES: Mapping[str, LossSpec] = MappingProxyType(
    {spec.name: spec for group in (SPREAD, SUPERVISED, PLACES, TWO_MAPS, HEADS) for spec in group}
)


def check_parameters(name: str, given: Iterable[str]) -> None:
    """Check that a loss exists and takes the parameters given.

    Raises ValueError that names those there are.
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {name!r}")
    known = [parameter.name for parameter in LOSSES[name].parameters]
    for parameter in given:
        if parameter not in known:
            raise ValueError(f"{name} takes {', '.join(known) or 'no parameters'}; got {parameter!r}")
