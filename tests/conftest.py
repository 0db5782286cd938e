"""Shapes in signatures are checked while tests run: the hook must precede the import of the packages."""

from collections.abc import Iterator

import jaxtyping
import pytest

CHECKED_PACKAGES = ["attnloss"]

jaxtyping.install_import_hook(CHECKED_PACKAGES, "beartype.beartype")


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Switch the shape checks off, as in production, so that misuse reaches the errors of the package."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
