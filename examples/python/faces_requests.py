"""Print the faces in a picture, over HTTP: python faces_requests.py PICTURE [URL].

Needs `pip install requests`. A face is a line: left, top, right and bottom of its box, and its confidence.
"""

import sys
import time
from pathlib import Path
from typing import Any

import requests

LONGEST_WAIT = 5.0  # seconds that a service which cannot answer now is waited for


def find_faces(url: str, picture: bytes) -> list[dict[str, Any]]:
    """The faces, most confident first; exits with what the service says where it refuses."""
    response = post(url, picture)
    wait = float(response.headers.get("Retry-After", "inf"))  # it is there where trying again may help
    if wait <= LONGEST_WAIT:
        time.sleep(wait)
        response = post(url, picture)
    answer = response.json()
    if not response.ok:
        sys.exit(f"{answer['reason']}: {answer['detail']}")
    faces: list[dict[str, Any]] = answer["results"]
    return faces


def post(url: str, picture: bytes) -> requests.Response:
    """One request; options of the detection are parameters of the query."""
    return requests.post(
        f"{url}/predict",
        data=picture,
        params={"min_face_size": 20},
        headers={"X-Request-Timeout": "20"},  # how long the service may take
        timeout=30,  # how long the network may be silent
    )


def main(path: str, url: str = "http://127.0.0.1:8000") -> None:
    """Print them."""
    for face in find_faces(url, Path(path).read_bytes()):
        up_left, lower_right = face["box"]["upLeft"], face["box"]["lowerRight"]
        print(up_left["x"], up_left["y"], lower_right["x"], lower_right["y"], face["confidence"])


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (requests.RequestException, OSError) as error:  # nobody there, no answer in time, or no such file
        sys.exit(str(error))
