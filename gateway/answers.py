"""What the backend has answered as the JSON that callers get."""

from collections.abc import Iterable
from typing import Any

import orjson
from flask import Response

from utils.detection_json import detection_document
from utils.domain import Detection
from utils.models import ModelDescription, Prediction

MODEL = "X-Model"
FACES = "X-Facet-Faces"


def detection_response(detection: Detection) -> Response:
    """The answer to a picture whose faces are known."""
    return _json(orjson.dumps(detection_document(detection)))


def annotated_response(detection: Detection) -> Response:
    """The picture with the faces drawn into it alone, and how many they are."""
    assert detection.annotated is not None, "it was asked for"
    response = Response(detection.annotated.data, content_type=detection.annotated.media_type)
    response.headers[FACES] = str(len(detection.faces))
    return response


def batch_response(answers: Iterable[tuple[int, bytes]]) -> Response:
    """The answers to pictures of a batch, JSON each, as one list in the order of their indices."""
    return _json(b"[" + b",".join(answer for _, answer in sorted(answers)) + b"]")


def models_response(models: Iterable[ModelDescription]) -> Response:
    """A list of models, without what only the callers of one need to know."""
    return _json(orjson.dumps({"models": [_summary(model) for model in models]}))


def model_response(model: ModelDescription) -> Response:
    """All that HTTP callers of a model need to know; a schema that is not known is null."""
    document = {
        **_summary(model),
        "max_batch": model.max_batch,
        "operations": model.operations,
        "input_schema": model.input_schema,
        "output_schema": model.output_schema,
    }
    return _json(orjson.dumps(document))


def prediction_response(prediction: Prediction) -> Response:
    """A model's own answer, and which version gave it."""
    response = _json(prediction.content)
    response.headers[MODEL] = f"{prediction.name}/{prediction.version}"
    return response


def _json(document: bytes) -> Response:
    return Response(document, content_type="application/json")


def _summary(model: ModelDescription) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "state": model.state,
        "default": model.default,
        "display_name": model.display_name,
        "description": model.description,
        "kind": model.kind,
    }
