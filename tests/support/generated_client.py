"""Calls a gateway by the client that openapi-python-client has made, in an environment of its own.

`python generated_client.py FOLDER URL PICTURE` prints what it is answered, as JSON.
"""

import base64
import json
import sys
from io import BytesIO
from pathlib import Path

folder, url, picture = sys.argv[1:]
sys.path.insert(0, folder)

from facet_client import Client  # noqa: E402
from facet_client.api.faces import predict  # noqa: E402
from facet_client.api.models import predict_area, predict_echo  # noqa: E402
from facet_client.models import Area10Input, Area10InputPoint, Echo10Input, FaceForm, FaceOptions, FaceRequest  # noqa: E402
from facet_client.types import File  # noqa: E402


def main() -> None:
    """Call it."""
    client = Client(base_url=url)
    image = base64.b64encode(Path(picture).read_bytes()).decode()
    options = FaceOptions(min_face_size=60)
    found = predict.sync(client=client, body=FaceRequest(image=image, options=options))
    file = File(payload=BytesIO(Path(picture).read_bytes()), file_name="photo.png")
    sent = predict.sync(client=client, body=FaceForm(image=file, min_face_size=60))
    refused = predict.sync(client=client, body=FaceRequest(image="?"))
    said = predict_echo.sync(client=client, body=Echo10Input(text="hello", repeat=2))
    corners = [Area10InputPoint(x=1.5)]
    area = predict_area.sync(client=client, body=Area10Input(corners=corners))
    answers = {
        "left": [answer.results[0].box.up_left.x for answer in (found, sent)],
        "reason": refused.reason,
        "text": said.text,
        "middle": area.middle.x,
    }
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()
