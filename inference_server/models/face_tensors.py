"""Face detection by tensors: pictures in, and of all of them the faces, one after the other."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from inference_server.models.encodings.inference import InferenceOperation, operations_of
from inference_server.models.encodings.tensors import TensorInterface, TensorSpec
from protos import infer_pb2 as pb
from utils.codec import check_options
from utils.domain import OPTION_NAMES
from utils.errors import InvalidInput

_LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


class FaceTensors(TensorInterface):
    """Encoded pictures to the faces of each: `num_faces` says how many of the rows of the others are whose.

    Parameters of a request are the options of its detections, by their names. `split` gives messages Image,
    and `join` takes serialized messages InferResults.
    """

    inputs = (TensorSpec("image", "BYTES", (-1,)),)
    outputs = (
        TensorSpec("num_faces", "INT32", (-1,)),
        TensorSpec("boxes", "FP32", (-1, 4)),
        TensorSpec("landmarks", "FP32", (-1, 5, 2)),
        TensorSpec("confidences", "FP32", (-1,)),
    )
    batched = False  # of the outputs one alone has as many rows as there are pictures
    most_items = 10_000
    item_name = "image"

    def split(self, arrays: Mapping[str, Any], _most: int, parameters: Mapping[str, Any]) -> list[pb.Image]:
        """As TensorInterface has it.

        Raises:
            InvalidInput: An option is of a wrong type.
            OptionOutOfRange: An option is not in its range: no picture's fault, for all have the same.
        """
        options = pb.DetectOptions()
        for name in OPTION_NAMES:
            if name in parameters:
                try:
                    setattr(options, name, parameters[name])
                except (TypeError, ValueError) as error:
                    raise InvalidInput(
                        f"The parameter {name} is no number as it takes", field=name
                    ) from error
        check_options(options)
        return [pb.Image(raw_data=one, options=options) for one in arrays["image"]]

    def join(self, outputs: Sequence[bytes]) -> dict[str, Any]:
        """As TensorInterface has it."""
        found = [pb.InferResults.FromString(one).results for one in outputs]
        faces = [face for results in found for face in results]
        corners = [(face.box.up_left, face.box.lower_right) for face in faces]
        places = [[getattr(face.landmarks, name) for name in _LANDMARKS] for face in faces]
        boxes = [[*_of(first), *_of(second)] for first, second in corners]
        landmarks = [[_of(place) for place in one] for one in places]
        return {
            "num_faces": np.array([len(results) for results in found], np.int32),
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "landmarks": np.array(landmarks, np.float32).reshape(-1, 5, 2),
            "confidences": np.array([face.confidence for face in faces], np.float32),
        }


def _of(point: pb.Point) -> tuple[float, float]:
    return point.x, point.y


@cache
def face_operations(key: str) -> Mapping[str, InferenceOperation]:
    """The operations of face detection by tensors.

    Args:
        key: The name and version that it is listed as, `NAME/VERSION`.
    """
    return operations_of(key, FaceTensors(), max_batch=1)
