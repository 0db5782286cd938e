"""What can be wrong with a model."""


class ModelUnusable(Exception):
    """Why a model cannot be loaded, in a sentence."""
