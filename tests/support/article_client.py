"""A client made from the published article's contract alone, in a process of its own.

`python article_client.py ADDRESS PICTURE` builds the messages from the text below, with a descriptor pool
that knows nothing of ours, calls the backend, and prints what it reads as JSON.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
from grpc_tools import protoc

ARTICLE = """
syntax = "proto3";
service Inference { rpc Predict (Image) returns (InferResults) {} }
message MetaData { map<string, string> values = 1; }
message Image { bytes raw_data = 1; int32 height = 2; int32 width = 3; string image_id = 4;
                MetaData _meta_data = 5; }
message InferResults { string image_id = 1; MetaData _meta_data = 2; repeated Result results = 3; }
message Result { Box box = 1; Landmarks landmarks = 2; double confidence = 3; }
message Box { Point up_left = 1; Point lower_right = 2; }
message Landmarks { Point left_eye = 1; Point right_eye = 2; Point nose = 3; Point mouth_left = 4;
                    Point mouth_right = 5; }
message Point { float x = 1; float y = 2; }
"""


def generate(folder: Path) -> None:
    """Generate the article's stub into a folder, and let it be imported."""
    (folder / "article.proto").write_text(ARTICLE)
    outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(["protoc", f"-I{folder}", *outputs, str(folder / "article.proto")]) == 0
    sys.path.insert(0, str(folder))


def main() -> None:
    """Call the backend and print the answer."""
    address, picture = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        messages: Any = importlib.import_module("article_pb2")
        stubs: Any = importlib.import_module("article_pb2_grpc")
        with grpc.insecure_channel(address) as channel:
            image = messages.Image(raw_data=Path(picture).read_bytes(), image_id="42", height=1, width=1)
            image._meta_data.values["from"] = "article"
            results = stubs.InferenceStub(channel).Predict(image, timeout=30)
    sys.stdout.write(json.dumps(describe(results)))


def describe(results: Any) -> dict[str, Any]:  # noqa: ANN401 - a class made at run time
    """What the article's client reads of an answer."""
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    return {
        "image_id": results.image_id,
        "metadata": dict(results._meta_data.values),
        "faces": [
            {
                "box": [r.box.up_left.x, r.box.up_left.y, r.box.lower_right.x, r.box.lower_right.y],
                "landmarks": [[getattr(r.landmarks, n).x, getattr(r.landmarks, n).y] for n in names],
                "confidence": r.confidence,
            }
            for r in results.results
        ],
    }


if __name__ == "__main__":
    main()
