"""Careful callers of Facet: over HTTP on a connection that is kept, and over gRPC by our own client."""

import contextlib
import http.client
import json
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tests.soak.identities import Account
from tests.soak.photos import Faces, of_domain, of_json
from utils.errors import BackendUnavailable, FacetError, KeyUnknown, ModelNotReady, QueueFull
from utils.service_client import ServiceClient
from utils.settings import parse_address

PATIENCE = 90.0
"""Seconds after which a request that has no answer hangs; above every deadline."""
TIMEOUT = 60.0
"""Seconds that a request has, named or by default."""


@dataclass(frozen=True)
class Answer:
    """What came back for one picture.

    Attributes:
        faces: Where it was answered.
        wrong: It was answered, and its caller has found it wrong: what it was, and what it should have been.
        refused: It was not, because too much is waiting, and it was said when to come again.
        gone: It was not, because there is no backend, or its models load, and it was said when to come again.
        unknown: It was not, because its key is not known.
        trouble: What else went wrong.
        repeated: It was sent again because its first connection was closed before the answer's first byte.
        picture: Which one this is about, where several were sent.
    """

    faces: Faces | None = None
    wrong: str = ""
    refused: bool = False
    gone: bool = False
    unknown: bool = False
    trouble: str = ""
    repeated: bool = False
    picture: bytes = b""


class Caller(Protocol):
    """One client."""

    def ask(self, picture: bytes) -> Answer:
        """Have the faces of one picture found; never raises."""

    def close(self) -> None:
        """Let go of connections."""


class HttpCaller:
    """A client of the gateway that uses its connection again, and repeats once what it may repeat.

    A patient caller, here and below, names the time that its requests have: they may wait for that long.

    Args:
        address: The gateway's.
        account: Whose key it shows.
        path: What it asks for.
        patient: Whether it is.
    """

    content_type = "image/jpeg"
    repeats = True

    def __init__(
        self, address: str, account: Account, path: str = "/predict", *, patient: bool = False
    ) -> None:
        self._path, self._account = path, account
        self._headers = {"Content-Type": self.content_type, **account.headers}
        if patient:
            self._headers["X-Request-Timeout"] = f"{TIMEOUT:g}"
        where = parse_address(address)
        self._connection = http.client.HTTPConnection(where.host, where.port, timeout=PATIENCE)

    def ask(self, picture: bytes) -> Answer:
        repeated = False
        try:
            try:
                response = self._send(picture)
            except (BrokenPipeError, ConnectionResetError):  # closed before the first byte of an answer
                if not self.repeats:
                    raise
                self._connection.close()
                repeated = True
                response = self._send(picture)
            return self._read(picture, response, repeated=repeated)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Answer(trouble=repr(error), repeated=repeated)

    def _send(self, picture: bytes) -> http.client.HTTPResponse:
        self._connection.request("POST", self._path, self._body(picture), self._headers)
        return self._connection.getresponse()

    def _read(self, picture: bytes, response: http.client.HTTPResponse, *, repeated: bool) -> Answer:
        body = response.read()
        self._count(response)
        try:
            said = json.loads(body)
        except ValueError:  # from a proxy
            return Answer(trouble=f"{response.status}: {body[:200]!r}", repeated=repeated)
        if response.status == 200:
            return replace(self._found(picture, said), repeated=repeated)
        refused = refusal(response.status, said, says_when="Retry-After" in response.headers)
        return replace(refused, repeated=repeated)

    def _count(self, response: http.client.HTTPResponse) -> None:
        """Have a response counted that was read to its end."""
        if response.status == 200:
            self._account.count("HTTP")

    def _body(self, picture: bytes) -> bytes:
        """What is sent of a picture."""
        return picture

    def _found(self, _picture: bytes, said: dict[str, Any]) -> Answer:
        """What the body of a 200 says."""
        return Answer(of_json(said["results"]))

    def close(self) -> None:
        self._connection.close()


class GrpcCaller:
    """A service that calls the backend itself."""

    def __init__(self, address: str, account: Account, *, patient: bool = False) -> None:
        self._client = ServiceClient(address, timeout=TIMEOUT, key=account.key, tls=account.tls)
        self._account, self._patient = account, patient

    def ask(self, picture: bytes) -> Answer:
        try:
            found = self._client.detect(picture, timeout_named=self._patient)
        except FacetError as error:
            return of_error(error)
        self._account.count("gRPC")
        return Answer(of_domain(found.faces))

    def close(self) -> None:
        with contextlib.suppress(FacetError):
            self._client.close()


def refusal(status: int, problem: dict[str, Any], *, says_when: bool, picture: bytes = b"") -> Answer:
    """What a problem says that came over HTTP, maybe with when to come again."""
    return Answer(
        refused=status == 429 and says_when,
        gone=status == 503 and says_when,
        unknown=problem.get("reason") == KeyUnknown.reason,
        trouble=f"{status}: {problem}",
        picture=picture,
    )


def of_error(error: FacetError) -> Answer:
    """What an error of our client says."""
    said_when = error.retry_after is not None
    return Answer(
        refused=isinstance(error, QueueFull) and said_when,
        gone=isinstance(error, (BackendUnavailable, ModelNotReady)) and said_when,
        unknown=isinstance(error, KeyUnknown),
        trouble=f"{error.reason}: {error.detail}",
    )
