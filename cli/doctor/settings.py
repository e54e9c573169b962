"""Every setting with its value, and where that comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import fields

from utils.settings import CLIENT_KEY, Settings, variable

_FROM_ENVIRONMENT, _DEFAULT = "environment", "default"
_NOT_SHOWN = "(not shown)"


def rows(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Name, value and origin of each. Secrets are in files, of which these are the paths."""
    for setting in fields(Settings):
        name = variable(setting.name)
        text = environ.get(name)
        given = text is not None and (bool(text.strip()) or setting.metadata["empty_counts"])
        yield name, _shown(getattr(settings, setting.name)), _FROM_ENVIRONMENT if given else _DEFAULT
    if CLIENT_KEY in environ:
        yield CLIENT_KEY, _NOT_SHOWN, _FROM_ENVIRONMENT


def _shown(value: object) -> str:
    """A value as it is written in the environment."""
    match value:
        case None | "" | ():
            return "-"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)
