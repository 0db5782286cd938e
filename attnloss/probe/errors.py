"""The error of a model that cannot be probed."""


class ProbeError(ValueError):
    """A model, or a call of it, whose attention cannot be told; the message says why."""
