"""The error that names the argument at fault and the place in it."""


class FieldError(ValueError):
    """An argument that does not fit: `field` names it, `index` the place in it, in the caller's own rank.

    `index` is empty where the whole argument is at fault (its shape, its dtype). A service can tell its
    client both without parsing the message.
    """

    def __init__(self, field: str, index: tuple[int, ...], message: str) -> None:
        super().__init__(message)
        self.field = field
        self.index = index
