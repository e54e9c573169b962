"""A gateway before a real backend with models, for tests of what it says of itself."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support import gateway_process
from tests.support.gateway_process import Gateway
from tests.support.model_backend import model_backend
from tests.support.model_package import installed
from tests.support.processes import PATIENCE

AREA = '''
"""Models with objects in their inputs and answers, under names that others have, too."""

from enum import Enum

from facet_serving import Model
from pydantic import BaseModel


class Unit(Enum):
    SQUARE_METRE = "m2"
    ACRE = "acre"


class Point(BaseModel):
    x: float
    y: float = 0


class Area(Model):
    name = "area"

    class Input(BaseModel):
        corners: list[Point]
        unit: Unit = Unit.SQUARE_METRE
        photo: bytes = b""

    class Output(BaseModel):
        middle: Point
        unit: Unit

    def predict(self, inputs):
        return [self.Output(middle=(one.corners or [Point(x=0)])[0], unit=one.unit) for one in inputs]


class Wider(Area):
    name = "wider"
'''
PAGE = "https://page.example"
"""Pages of this origin may read its answers."""


@contextlib.contextmanager
def described_gateway(folder: Path) -> Iterator[Gateway]:
    """One that is ready; the state of the backend lies in this folder."""
    package = installed(folder, "areas", AREA, {"area": "areas:Area", "wider": "areas:Wider"})
    models = "face_detection,echo,area,wider"
    time = {"FACET_TIMEOUT_SECONDS": f"{PATIENCE:g}", "FACET_MAX_TIMEOUT_SECONDS": f"{PATIENCE:g}"}
    with (
        model_backend(folder, FACET_MODELS=models, FACET_ADMIN_ADDRESS="", **package) as backend,
        gateway_process.gateway(backend.address, FACET_ALLOWED_ORIGINS=PAGE, **time) as running,
    ):
        yield running
