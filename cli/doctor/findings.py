"""What a check tells."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]
"""An error keeps Facet from serving; a warning makes it slower, or fails some of what it is asked for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: How bad it is.
        subject: What it is about, a word.
        text: What was found.
        help: What to do about it; empty where nothing is.
    """

    level: Level
    subject: str
    text: str
    help: str = ""
