"""Rules of the keys that a model in the store may have."""

import pytest

from inference_server.catalogue.kinds import KEYS
from inference_server.models.kinds.expression import ExpressionOptions
from inference_server.models.kinds.image_classification import ClassificationOptions
from inference_server.models.kinds.loading import Options
from inference_server.models.kinds.onnx import OnnxOptions
from inference_server.models.kinds.per_face import PerFaceOptions


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("onnx", OnnxOptions),
        ("image_classification", ClassificationOptions),
        ("per_face", PerFaceOptions),
        ("expression", ExpressionOptions),
    ],
)
def test_the_keys_of_a_kind_are_those_that_its_code_takes(kind: str, options: type[Options]) -> None:
    """Or what a process of the model takes could not be registered."""
    assert set(KEYS[kind]) == set(options.model_fields)
