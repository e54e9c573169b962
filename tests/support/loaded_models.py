"""Models of classes in tests, loaded as their processes load them, and requests to them."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from inference_server.catalogue.entries import ModelSettings, ModelVersion, Source, State
from inference_server.dispatch.consumer import Outcome
from inference_server.dispatch.work import Work
from inference_server.models.contract import LoadedModel, load
from inference_server.models.encoding import pack_context, unpack_answer
from utils.errors import FacetError
from utils.settings import Settings


def of_class(found: type, **options: object) -> Source:
    """The source of the kind `python` that names a class of a test."""
    return Source("python", options={"class": f"{found.__module__}:{found.__qualname__}", **options})


def loaded(
    found: type | Source,
    name: str = "model",
    number: str = "",
    max_answer_bytes: int = Settings().max_answer_bytes,
    **settings: float,
) -> LoadedModel:
    """A model of a class, with what an operator decides of it."""
    source = found if isinstance(found, Source) else of_class(found)
    decided = ModelSettings().with_changes(settings)
    version = ModelVersion(name, number, name, source, decided, 1, State.LOADING, loaded_at_start=False)
    return load(version, max_answer_bytes)


def request(
    operation: str, payload: bytes | Mapping[str, Any], parameters: bytes = b"", request_id: str = "id-1"
) -> Work:
    """A request, whose payload may be what becomes JSON."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    context = pack_context(request_id, "", parameters)
    return Work("model/1.0", operation, context, content, 1.0, time.monotonic(), math.inf, queue=1)


def handled(model: LoadedModel, *requests: Work) -> list[Outcome]:
    """The outcomes of requests to this model, handled together."""
    return model.handle([replace(one, model=model.key) for one in requests])


def ask(model: LoadedModel, *requests: Work) -> list[Any]:
    """What each request is answered with, all of them handled together: JSON, or an error."""
    return [_read(outcome) for outcome in handled(model, *requests)]


def call(
    model: LoadedModel, operation: str, payload: bytes | Mapping[str, Any], parameters: bytes = b""
) -> bytes:
    """The bytes with which one request is answered.

    Raises:
        FacetError: What it is refused with.
    """
    [outcome] = handled(model, request(operation, payload, parameters))
    return unpack_answer(outcome.answer)[0]


def refusal(
    model: LoadedModel, operation: str, payload: bytes | Mapping[str, Any], parameters: bytes = b""
) -> FacetError:
    """What one request is refused with."""
    with pytest.raises(FacetError) as caught:
        call(model, operation, payload, parameters)
    return caught.value


def _read(outcome: Outcome) -> Any:  # noqa: ANN401
    try:
        content, _ = unpack_answer(outcome.answer)
    except FacetError as error:
        assert not outcome.complete
        return error
    assert outcome.complete
    return json.loads(content)
