"""A process that finds faces for the command which has started it, one picture after the other.

The command imports this module, too: what computes is imported by the process alone.
"""

import os
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from cli.detect.options import Asked
from cli.detect.pictures import PictureFile, Problem
from inference_server.supervision.processes import die_with_parent, leave_signals_to_supervisor
from utils import logs
from utils.errors import FacetError
from utils.memory import tune_heap
from utils.settings import Settings

if TYPE_CHECKING:
    from inference_server.models.face_detection import FaceDetection


@dataclass(frozen=True, slots=True)
class Ready:
    """It takes pictures. `passed_over` says why it has not the fastest engine; empty where it has."""

    passed_over: str


@dataclass(frozen=True, slots=True)
class NotReady:
    """It cannot find faces, and why."""

    reason: str


def run(connection: Connection, parent: int, asked: Asked) -> None:
    """Say whether it is ready, then answer each PictureFile, until nobody is there.

    An answer is as a worker packs it, or the Problem with which the picture could not be read.
    """
    leave_signals_to_supervisor()
    die_with_parent(parent)
    from inference_server.models.face_detection import FaceDetection  # noqa: PLC0415

    tune_heap()
    settings = Settings.from_environ(os.environ)
    logs.configure(settings.log_format)
    try:
        model = FaceDetection.build(settings)
    except FaceDetection.permanent_errors as error:
        connection.send(NotReady(str(error)))
        return
    connection.send(Ready(model.choice.reason if model.choice.degraded else ""))
    while True:
        try:
            picture = connection.recv()
        except EOFError:
            return
        connection.send(_answer(model, picture, settings.max_image_bytes, asked))


def _answer(model: "FaceDetection", picture: PictureFile, most_bytes: int, asked: Asked) -> bytes | Problem:
    from inference_server.models.local_detection import answer  # noqa: PLC0415

    try:
        return answer(model, asked.request(picture.read(most_bytes)))
    except (OSError, FacetError) as error:
        return Problem.of(error)
