"""What has come of a batch, in numbers."""

from dataclasses import dataclass

from utils.domain import Detection
from utils.errors import FacetError


@dataclass(slots=True)
class Counts:
    """What has come of a batch so far.

    Attributes:
        ok: Pictures whose faces were found.
        failed: Pictures that were answered with a problem.
        faces: In all of them.
        body_bytes: That have come.
        bytes: Of the pictures among them.
    """

    ok: int = 0
    failed: int = 0
    faces: int = 0
    body_bytes: int = 0
    bytes: int = 0

    def add(self, outcome: Detection | FacetError) -> None:
        """Count another picture."""
        if isinstance(outcome, Detection):
            self.ok += 1
            self.faces += len(outcome.faces)
        else:
            self.failed += 1
