"""Writes docs/settings.md: every setting with its default, from the settings themselves.

python -m docs.settings
"""

from pathlib import Path

from pydantic.fields import FieldInfo

from service.settings import MIB, Settings

PAGE = Path(__file__).with_name("settings.md")

_HEAD = """# Settings

Every setting of the service is a variable of its environment. Written by `python -m docs.settings` from
`service/settings.py`; a test compares the two.

| variable | default | what it sets |
|---|---|---|
"""


def page() -> str:
    """The page as it should be."""
    return _HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    description = (field.description or "").replace("|", "\\|")
    return f"| `ATTNLOSS_{name.upper()}` | {_default(field)} | {description} |\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.default_factory is not None:
        return "by the cores"
    if value is None or value == "":
        return "unset"
    if isinstance(value, int) and not isinstance(value, bool) and value >= MIB and value % MIB == 0:
        return f"{value} ({value // MIB} × 2^20)"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page())
