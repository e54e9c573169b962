"""Count the faces in many pictures, over HTTP: python many_faces_requests.py URL PICTURE...

Needs `pip install requests`. A picture is a line, in the order in which they are done. Exits with 1 where one
of them has failed.
"""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import requests

LONGEST_WAIT = 5.0  # seconds that a service which cannot answer now is waited for


def find_faces(url: str, paths: list[str]) -> requests.Response:
    """The answer, whose lines come as the pictures are done."""
    response = post(url, paths)
    wait = float(response.headers.get("Retry-After", "inf"))  # it is there where trying again may help
    if wait <= LONGEST_WAIT:
        time.sleep(wait)
        response = post(url, paths)
    return response


def post(url: str, paths: Iterable[str]) -> requests.Response:
    """One request, which has the pictures as files of a form."""
    return requests.post(
        f"{url}/predict/batch",
        files=[("file", (path, Path(path).read_bytes())) for path in paths],
        params={"min_face_size": 20},
        headers={"X-Request-Timeout": "60"},  # how long each picture may take
        timeout=120,  # how long the network may be silent
        stream=True,
    )


def main(url: str, *paths: str) -> int:
    """Print the lines; gives the exit status."""
    response = find_faces(url, [*paths])
    if not response.ok:
        sys.exit(told(response.json()))
    for line in map(json.loads, response.iter_lines()):
        if "done" in line:  # the last one
            if not line["done"]:
                sys.exit(told(line["problem"]))
            return 1 if line["failed"] else 0
        if line["status"] == requests.codes.ok:
            print(f"{line['name']}: {len(line['results'])}")
        else:
            print(f"{line['name']}: {told(line['problem'])}", file=sys.stderr)
    sys.exit("The answer was cut off.")


def told(problem: dict[str, str]) -> str:
    """What a problem document says."""
    return f"{problem['reason']}: {problem['detail']}"


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (requests.RequestException, OSError) as error:  # nobody there, no answer in time, or no such file
        sys.exit(str(error))
