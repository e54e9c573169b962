"""The status of the backend as a page for a person: without scripts, and without anything from elsewhere."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flask import Response, render_template

_STYLE: Final = (Path(__file__).parent / "templates" / "statusz.css").read_text()
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"))


def page(status: Mapping[str, Any]) -> Response:
    """The page.

    Args:
        status: The supervisor's answer to Status.
    """
    now = status["started"] + status["uptime_seconds"]
    text = render_template(
        "statusz.html",
        status=status,
        style=_STYLE,
        now=_time(now),
        time=_time,
        age=lambda started: _duration(now - started),
        memory=_memory,
    )
    response = Response(text, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(seconds: float) -> str:
    """The two largest units of a duration."""
    for length, unit in _UNITS:
        if seconds >= length:
            smaller = {"d": (3600, "h"), "h": (60, "min"), "min": (1, "s")}[unit]
            return f"{seconds // length:.0f} {unit} {seconds % length // smaller[0]:.0f} {smaller[1]}"
    return f"{max(seconds, 0):.0f} s"


def _memory(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
