"""One process of a plain SO_REUSEPORT service: it detects what it receives itself, on one thread.

It differs from a worker of Facet in dispatch alone: the same server, interceptor, service, decoder,
detector and heap. There is no supervisor, no admission and no queue but this process's own.
"""

import argparse
import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import uvloop

from benchmarks import sleeping_worker
from inference_server.api.health import HealthServicer
from inference_server.api.infer import InferenceService
from inference_server.api.server import ServerContext
from inference_server.api.submission import Submissions
from inference_server.dispatch.admission import Load
from inference_server.dispatch.work import Work
from inference_server.models.face_detection import FaceDetection
from inference_server.supervision.processes import die_with_parent
from utils import logs
from utils.memory import tune_heap
from utils.settings import Settings

logger = logging.getLogger(__name__)

_BUILDS = {"sleeping": sleeping_worker.build, "real": FaceDetection.build}


class OwnThread:
    """Stands where a worker has its dispatcher: what is submitted waits for this process's one thread."""

    def __init__(self, model: FaceDetection) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(1)

    def admit(self, load: Load, deadline: float, longest_wait: float, queue: int = 0) -> None:
        """Refuse nothing."""

    async def submit(self, work: Work, longest_wait: float) -> bytes:  # noqa: ARG002 - a dispatcher's
        """Compute the answer after those that came before."""
        compute = partial(self._model.handle, work, lambda: None)
        outcome = await asyncio.get_running_loop().run_in_executor(self._thread, compute)
        return outcome.answer


async def serve(address: str, model: FaceDetection, settings: Settings) -> None:
    """Serve until killed; `ready` is logged when it listens."""
    inference = InferenceService(Submissions(OwnThread(model)), model, settings)
    context = ServerContext(settings=settings, health=HealthServicer([inference.name]))
    [server], _ = context.build([inference], address)
    await server.start()
    logger.info("ready")
    await server.wait_for_termination()


def main() -> None:
    """Boot and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="host:port, shared with the others")
    parser.add_argument("--detector", choices=_BUILDS, required=True)
    parser.add_argument("--parent", type=int, default=os.getppid())
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    tune_heap()
    settings = Settings.from_environ(os.environ)
    logs.configure("json")
    uvloop.run(serve(arguments.address, _BUILDS[arguments.detector](settings), settings))


if __name__ == "__main__":
    main()
