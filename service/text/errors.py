"""What can be wrong with a model."""


class ModelUnusable(Exception):
    """Why a model cannot be loaded, in a sentence; `passing` if it may be otherwise in a while."""

    def __init__(self, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.passing = passing
