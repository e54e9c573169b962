"""The figures on disk: one JSON file for each scenario."""

import json
from pathlib import Path
from typing import Any

from benchmarks.registry import NAMES

FOLDER = Path(__file__).parent
"""Holds results/, plots/ and README.md."""


def save(folder: Path, name: str, result: dict[str, Any]) -> None:
    """Keep what a scenario found."""
    path = folder / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """What was found so far, by scenario."""
    paths = {name: folder / "results" / f"{name}.json" for name in NAMES}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
