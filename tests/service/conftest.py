"""Hypothesis without its clock: on a shared machine a slow example is no failure."""

from hypothesis import settings

settings.register_profile("service", deadline=None, max_examples=60)
settings.load_profile("service")
