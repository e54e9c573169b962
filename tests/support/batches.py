"""Bodies of /predict/batch, and what they are answered with."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

from tests.support.gateway_process import Gateway
from tests.support.raw_http import chunk, post_head

BOUNDARY = "B"
KIND = f"multipart/form-data; boundary={BOUNDARY}"
PATH = "/predict/batch"
END = b"--B--\r\n"

NEXT = b'--B\r\nContent-Disposition: form-data; name="file"; filename="next.jpg"\r\n\r\n'
"""The head of a file: by its boundary the end of the one before it is known."""

Line = dict[str, Any]


def option(name: str, value: str) -> bytes:
    """A part that is a field of text."""
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file(content: bytes, name: str = "a.jpg") -> bytes:
    """A part that is a file."""
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    return f"--B\r\n{head}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + content + b"\r\n"


def batch(*parts: bytes) -> bytes:
    """A whole body."""
    return b"".join(parts) + END


def of_files(contents: Iterable[bytes]) -> bytes:
    """A whole body of files alone, named by their indices."""
    return batch(*(file(content, f"{index}.jpg") for index, content in enumerate(contents)))


@dataclass(frozen=True)
class Answered:
    """What a batch was answered with: a problem, or lines."""

    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self.text
        problem: dict[str, Any] = json.loads(self.text)
        assert problem["status"] == self.status
        return problem

    @property
    def lines(self) -> list[Line]:
        """All lines, the last one too."""
        assert (self.status, self.headers["content-type"]) == (200, "application/x-ndjson"), self.text
        assert self.text.endswith(b"\n")
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def items(self) -> list[Line]:
        """The lines of the pictures of a batch that was answered to its end, by index."""
        *items, last = self.lines
        found = sum(item["status"] == 200 for item in items)
        assert last == {
            "done": True,
            "ok": found,
            "failed": len(items) - found,
            "seconds": last["seconds"],
        }
        items.sort(key=lambda item: int(item["index"]))
        assert [item["index"] for item in items] == [*range(len(items))]
        return items


def send(gateway: Gateway, body: bytes, query: str = "", **headers: str) -> Answered:
    """Send a batch on a connection of its own as most clients do: all of it, before anything is read."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(gateway.open()) as connection:
        connection.request("POST", PATH + query, body, {"Content-Type": KIND, **named})
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answered(response.status, fields, response.read())


def outcomes(items: Iterable[Line]) -> list[int | str]:
    """What came of each picture: its width, or the reason why there are no faces."""
    return [item["image"]["width"] if item["status"] == 200 else item["problem"]["reason"] for item in items]


class Sending:
    """A batch that is sent piece by piece, whose answer may be read meanwhile."""

    def __init__(self, gateway: Gateway, **headers: str) -> None:
        self.connection = gateway.connect()
        fields = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.connection.sendall(post_head(None, *fields, kind=KIND, path=PATH))
        self._response: HTTPResponse | None = None

    def send(self, *parts: bytes) -> None:
        """Send some of the body."""
        self.connection.sendall(b"".join(map(chunk, parts)))

    def end(self) -> None:
        """Send the end of the body."""
        self.connection.sendall(chunk(b""))

    @property
    def response(self) -> HTTPResponse:
        """The answer, whose head is waited for."""
        if self._response is None:
            self._response = HTTPResponse(self.connection)
            self._response.begin()
        return self._response

    def line(self) -> Line:
        """The next line of the answer."""
        assert self.response.status == 200, self.response.read()
        line: Line = json.loads(self.response.readline())
        return line

    def rest(self) -> list[Line]:
        """All lines that are left of an answer that ends as it should."""
        assert self.response.status == 200, self.response.read()
        return [json.loads(line) for line in self.response.read().splitlines()]


@contextlib.contextmanager
def sending(gateway: Gateway, *parts: bytes, **headers: str) -> Iterator[Sending]:
    """A batch of which so much has been sent."""
    begun = Sending(gateway, **headers)
    with contextlib.closing(begun.connection):
        begun.send(*parts)
        yield begun
