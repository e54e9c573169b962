"""Write docs/settings.md from the settings themselves. With --check, only say whether it is fresh."""

import sys
from dataclasses import fields
from pathlib import Path

from utils.settings import Settings, variable

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

HEAD = """# Settings

Every setting is an environment variable. An empty value counts as not set; an invalid one stops the
start with one line that says what is accepted; an unknown `FACET_` variable is a warning that names
the nearest setting. Both processes, the gateway and the backend, read the same settings. What a reload
(SIGHUP) brings is new code, not new settings: the environment of a running process cannot change.

This page is made by `make docs` from `utils/settings.py`; the tests fail where it is stale.

| variable | default | what it decides |
|---|---|---|
"""


def page() -> str:
    """The page's text."""
    rows = [
        f"| `{variable(setting.name)}` | {setting.metadata['default']} | {setting.metadata['doc']} |"
        for setting in fields(Settings)
    ]
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Write or compare; gives the exit status."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        print("docs/settings.md is stale. Run `make docs` and commit the result.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
