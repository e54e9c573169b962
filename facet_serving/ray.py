"""Facet on Ray, for more than one machine: docs/scaling.md.

`app` is an application of Ray Serve (deploy/ray.yaml), FaceFinder is for Ray Data (examples/ray_archive.py).

A replica answers what a worker of a backend answers, by the same code: the same messages, errors, keys and
log lines. What the processes of a backend share it does without: Ray's proxy gives each call to one of the
replicas, where one thread computes what has come, in its order.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import orjson
from ray import serve

from facet_serving.ray_proxy import Addressed, methods
from inference_server.api.call_counters import CallCounters
from inference_server.api.face_model import FaceModel
from inference_server.api.health import HealthServicer
from inference_server.api.hosted import HostContext, HostedServices
from inference_server.api.infer import InferenceService
from inference_server.api.model_call import ModelCaller
from inference_server.api.registry import ModelRegistry
from inference_server.api.server import ServerContext
from inference_server.api.submission import Submissions
from inference_server.catalogue.entries import Catalogue, State
from inference_server.catalogue.names import FACE_DETECTION
from inference_server.catalogue.start import listed
from inference_server.catalogue.store import Store
from inference_server.dispatch.publication import Publication
from inference_server.models.contract import LoadedModel, load
from inference_server.models.conversion import prepare
from inference_server.models.encoding import unpack_answer
from inference_server.models.face_detection import FaceDetection
from inference_server.models.face_messages import face_card
from inference_server.models.local import LocalDispatcher
from inference_server.models.local_detection import LocalFaces, answer
from protos import infer_pb2
from utils import logs
from utils.codec import decode_detection
from utils.detection_json import detection_document
from utils.domain import DetectRequest
from utils.errors import FacetError
from utils.memory import tune_heap
from utils.settings import Settings

_CALLS_OF_REPLICA = 16
"""At once, streams included; others wait in the proxy for a replica that has room."""
_MOST_WAITING = 1024
"""Calls that wait in a proxy; more of them are refused."""


class Reply(bytes):
    """A message that is serialized already."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - Ray calls it
        """Itself."""
        return bytes(self)


class FaceFinder:
    """Finds faces for Ray Data: `Dataset.map(FaceFinder, concurrency=...)`, where an actor loads it once.

    Raises:
        RuntimeError: The files of face detection cannot be made.
    """

    def __init__(self) -> None:
        self._faces = _face_detection(Settings.from_environ(os.environ))

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Search a picture.

        Args:
            row: Has its file as `bytes`, and its `path`, as `ray.data.read_binary_files` gives both.

        Returns:
            The path; how many `faces` there are, and the `result`, a JSON text as the answer of `/predict`.
            Where the picture is refused, 0 and an empty text, and its `reason` and `detail`, else empty.
        """
        found = {"path": row["path"], "faces": 0, "result": "", "reason": "", "detail": ""}
        try:
            results, _ = unpack_answer(answer(self._faces, DetectRequest(row["bytes"])))
        except FacetError as error:
            return found | {"reason": error.reason, "detail": error.detail}
        detection = decode_detection(infer_pb2.InferResults.FromString(results))
        result = orjson.dumps(detection_document(detection)).decode()
        return found | {"faces": len(detection.faces), "result": result}


class Replica:
    """What Ray runs many of. FACET_MODELS says which models one hosts beside face detection.

    Raises:
        RuntimeError: The files of face detection cannot be made.
        FacetError: A model cannot be loaded.
        InvalidSetting: A setting is wrong.
    """

    def __init__(self) -> None:
        settings = Settings.from_environ(os.environ)
        logs.configure(settings.log_format)
        self._health = HealthServicer([InferenceService.name])
        self._services = _services(settings, _face_detection(settings), self._health)

    async def check_health(self) -> None:
        """Called by Ray before the first call, and now and then."""
        await self._health.tell(serving=True)

    async def unary(self, addressed: Addressed, grpc_context: HostContext) -> Reply:
        """Answer a call of one message."""
        return Reply(await self._services.unary(*addressed, grpc_context))

    async def stream(
        self, stream: AsyncIterator[Addressed], grpc_context: HostContext
    ) -> AsyncGenerator[Reply, None]:
        """Answer a stream of messages; one that has none has no answers."""
        async for method, first in stream:
            messages = _messages(first, stream)
            async for reply in self._services.stream(method, messages, grpc_context):
                yield Reply(reply)


async def _messages(first: bytes, behind: AsyncIterator[Addressed]) -> AsyncIterator[bytes]:
    yield first
    async for addressed in behind:
        yield addressed.message


def _face_detection(settings: Settings) -> FaceDetection:
    tune_heap()
    failure = prepare(settings.cache_dir)
    if failure is not None:
        raise RuntimeError(failure)
    return FaceDetection.build(settings)


def _services(settings: Settings, faces: FaceDetection, health: HealthServicer) -> HostedServices:
    catalogue, models = _loaded(settings)
    published = Publication.create()
    published.publish(catalogue.to_json())
    counters = CallCounters.unshared()
    submissions = Submissions(LocalDispatcher([LocalFaces(faces), *models]), counters)
    inference = InferenceService(submissions, faces, settings)
    caller = ModelCaller(ModelRegistry(published, face_card), submissions, FaceModel(inference), settings)
    context = ServerContext(settings=settings, health=health, counters=counters)
    return HostedServices(*context.surrounded([inference], caller), settings.max_timeout_seconds)


def _loaded(settings: Settings) -> tuple[Catalogue, list[LoadedModel]]:
    """The models that are to be served, and those of them that are not face detection, loaded."""
    desired = listed(settings.models or [FACE_DETECTION], Store(settings.model_store))
    served, loaded = [], []
    for version in desired.versions:
        ready = replace(version, state=State.READY)
        if version.name != FACE_DETECTION:
            model = load(version, settings.max_answer_bytes)
            loaded.append(model)
            ready = replace(ready, version=model.card["version"], card=model.card, queue=len(loaded))
        served.append(ready)
    defaults = {one.name: one.version for one in reversed(served)} | dict(desired.defaults)
    return Catalogue(1, tuple(served), defaults, desired.canary), loaded


for _, _name, _is_stream in methods():  # Ray calls a method by its name
    setattr(Replica, _name, Replica.stream if _is_stream else Replica.unary)

app = serve.deployment(
    Replica, name="facet", max_ongoing_requests=_CALLS_OF_REPLICA, max_queued_requests=_MOST_WAITING
).bind()
