"""Print the faces in a picture, over gRPC by Facet's own client: python faces_client.py PICTURE [ADDRESS].

Needs the client: the wheel facet-serving, or the folder of the checkout as PYTHONPATH. A face is a line:
left, top, right and bottom of its box, and its confidence.
"""

import sys
from pathlib import Path

from facet_serving import DetectOptions, DetectRequest, ServiceClient, errors


def main(path: str, address: str = "127.0.0.1:50051") -> None:
    """Print them."""
    request = DetectRequest(Path(path).read_bytes(), DetectOptions(min_face_size=20))
    # Within its timeout the client itself tries again where that may help.
    with ServiceClient(address, timeout=20) as client:
        for face in client.detect(request).faces:
            up_left, lower_right = face.box.up_left, face.box.lower_right
            print(up_left.x, up_left.y, lower_right.x, lower_right.y, face.confidence)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except errors.FacetError as error:
        sys.exit(f"{error.reason}: {error.detail}")
    except OSError as error:  # no such file
        sys.exit(str(error))
