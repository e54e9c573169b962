"""Write docs/settings.md from the settings themselves. With --check, only say whether it is fresh."""

import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from utils.settings import GROUPS, variable

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

HEAD = """# Settings

Every setting is an environment variable. An empty value counts as not set, but for
`FACET_ADMIN_ADDRESS` and `FACET_HTTP_METRICS_ADDRESS`; an invalid one stops the start with one line
that says what is accepted; an unknown `FACET_` variable is a warning that names the nearest
setting. Both processes, the gateway and the backend, check all settings; the last column says which
of them acts by it. What a reload (SIGHUP) brings is new code, not new settings: the environment of
a running process cannot change. `FACET_API_KEY` is no setting, but what clients call by:
[security.md](security.md).

This page is made by `make docs` from `utils/settings/`; the tests fail where it is stale.
"""

GROUP = """
## {title}

| variable | default | what it decides | accepted | read by |
|---|---|---|---|---|
"""

TAIL = """
## What must agree

`FACET_TIMEOUT_SECONDS` may be no more than `FACET_MAX_TIMEOUT_SECONDS`. How the settings of TLS belong
together is in [running.md](running.md#tls).

Where gateways and backends run on machines, or in containers, of their own:

| setting | where it differs |
|---|---|
| `FACET_BACKEND` from `FACET_GRPC_ADDRESS` | nobody listens: 503 `BACKEND_UNAVAILABLE` |
| `FACET_BACKEND_TLS_…` from `FACET_TLS_…` | no connection can be made: 503 `BACKEND_UNAVAILABLE` |
| `FACET_MAX_IMAGE_BYTES` | the smaller one holds: `IMAGE_TOO_LARGE` or `MESSAGE_TOO_LARGE` |
| `FACET_MAX_TIMEOUT_SECONDS` | the smaller one holds: `DEADLINE_EXCEEDED` sooner than was asked for |

All backends that a gateway calls should have the same limits (`FACET_MAX_IMAGE_PIXELS`,
`FACET_MAX_CANDIDATES`) and `FACET_IMAGE_FORMATS`: which of them gets a request is chance.
`FACET_TIMEOUT_SECONDS` need not agree: the gateway tells the backend the time of each request.
"""


def page() -> str:
    """The page's text."""
    return HEAD + "".join(_group(group) for group in GROUPS) + TAIL


def _group(group: type[Any]) -> str:
    rows = (_row(variable(setting.name), setting.metadata) for setting in fields(group))
    return GROUP.format(title=(group.__doc__ or "").rstrip(".")) + "".join(rows)


def _row(name: str, about: Mapping[str, str]) -> str:
    return f"| `{name}` | {about['default']} | {about['doc']} | {about['accepted']} | {about['read_by']} |\n"


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
