"""Families of rows and of maps that the images show."""

import torch
from torch import Tensor

KEYS = 8


def one_strong_key(strength: Tensor, keys: int = KEYS) -> Tensor:
    """Rows in which key 0 has a given weight and the others share the rest alike: [t, keys]."""
    rest = ((1 - strength) / (keys - 1))[:, None].expand(-1, keys - 1)
    return torch.cat([strength[:, None], rest], 1)


def two_keys(share: Tensor) -> Tensor:
    """Rows of two keys: [t, 2]."""
    return torch.stack([share, 1 - share], 1)


def bump(centre: Tensor, width: Tensor | float, keys: int) -> Tensor:
    """Rows with the shape of a Gaussian: [t, keys]."""
    j = torch.arange(keys).double()
    return (
        -(j - centre[:, None].double()).square() / (2 * torch.as_tensor(width).double().reshape(-1, 1) ** 2)
    ).softmax(-1)


def along(path: Tensor, keys: int = KEYS, width: float = 0.45) -> Tensor:
    """A map whose query i attends around key path[i]: [n, keys]."""
    return bump(path, width, keys)


def uniform(n: int = KEYS, keys: int = KEYS) -> Tensor:
    """A map that attends to all keys alike."""
    return torch.full((n, keys), 1 / keys, dtype=torch.float64)
