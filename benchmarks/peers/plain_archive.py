"""One plain process over a list of pictures: read, decode, detect, write a line; nothing else.

python -m benchmarks.peers.plain_archive LIST OUTPUT
"""

import os
import sys
from pathlib import Path

import orjson

from inference_server.models.encoding import unpack_answer
from inference_server.models.face_detection import FaceDetection
from inference_server.models.local_detection import answer
from protos import infer_pb2 as pb
from utils.codec import decode_detection
from utils.detection_json import detection_document
from utils.domain import DetectRequest
from utils.errors import FacetError
from utils.memory import tune_heap
from utils.settings import Settings


def main() -> None:
    """Search all pictures that a file lists, a path a line."""
    names, output = sys.argv[1:]
    tune_heap()
    model = FaceDetection.build(Settings.from_environ(os.environ))
    with Path(output).open("wb") as file:
        file.writelines(_line(model, name) for name in Path(names).read_text().splitlines())


def _line(model: FaceDetection, name: str) -> bytes:
    return orjson.dumps({"path": name, **_found(model, name)}, option=orjson.OPT_APPEND_NEWLINE)


def _found(model: FaceDetection, name: str) -> dict[str, object]:
    try:
        message, _ = unpack_answer(answer(model, DetectRequest(Path(name).read_bytes())))
    except FacetError as error:
        return {"problem": error.reason}
    return dict(detection_document(decode_detection(pb.InferResults.FromString(message))))


if __name__ == "__main__":
    main()
