"""Callers of a model that compare what they are answered: over HTTP and gRPC, and such as never try again."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import grpc

from tests.soak.endpoints import PATIENCE, TIMEOUT, Answer, HttpCaller, of_error
from tests.soak.identities import Account
from tests.soak.photos import Photo
from tests.support.credentials import Credentials
from tests.support.model_backend import Client, message_classes
from utils.channel import error_of
from utils.errors import FacetError
from utils.service_client import ServiceClient

MODEL = "upper"
"""Of tests.support.model_package: it answers a text in capitals."""
RIGHT = ()
"""What a caller says of an answer that it has found right, in the place of faces."""


def words(name: str) -> Photo:
    """What a caller of the model sends, in the place of a picture; it must not be what another one sends."""
    return Photo(name, f"words of {name}, number ".encode(), RIGHT)


class HttpModelCaller(HttpCaller):
    """A client of the gateway."""

    content_type = "application/json"

    def __init__(self, address: str, account: Account) -> None:
        super().__init__(address, account, f"/models/{MODEL}/predict")

    def _body(self, picture: bytes) -> bytes:
        return json.dumps({"text": picture.decode()}).encode()

    def _found(self, picture: bytes, said: dict[str, Any]) -> Answer:
        return compared(picture, said["text"])


class ModelCaller:
    """A service that calls the backend by our client."""

    def __init__(self, address: str, account: Account) -> None:
        self._client = ServiceClient(address, timeout=TIMEOUT, key=account.key, tls=account.tls)
        self._account = account

    def ask(self, picture: bytes) -> Answer:
        try:
            answer = self._client.predict(MODEL, {"text": picture.decode()})
        except FacetError as error:
            return of_error(error)
        self._account.count("gRPC")
        return compared(picture, answer["text"])

    def close(self) -> None:
        with contextlib.suppress(FacetError):
            self._client.close()


class JsonOnce:
    """A client without any retry, which sends JSON."""

    def __init__(self, address: str, account: Account) -> None:
        self._client = Client(address, account)
        self._account = account

    def ask(self, picture: bytes) -> Answer:
        try:
            answer = self._client.predict(MODEL, {"text": picture.decode()})
        except FacetError as error:
            return of_error(error)
        self._account.count("gRPC")
        return compared(picture, answer["text"])

    def close(self) -> None:
        self._client.close()


class TypedOnce:
    """A client without any retry, which sends the model's own messages to its own method.

    Args:
        address: The backend's.
        account: Whose key it shows.
        reader: Who asks for the types of the messages.
    """

    def __init__(self, address: str, account: Account, reader: Credentials) -> None:
        self._message, answer = message_classes(address, MODEL, reader)
        self._channel, self._account = account.channel(address), account
        method = f"/model_grpc_service.ModelgRPCService/{MODEL}_predict"
        self._predict: Callable[..., Any] = self._channel.unary_unary(
            method, self._message.SerializeToString, answer.FromString
        )

    def ask(self, picture: bytes) -> Answer:
        try:
            answer = self._predict(self._message(text=picture.decode()), timeout=PATIENCE)
        except grpc.RpcError as error:
            return of_error(error_of(error))
        self._account.count("gRPC")
        return compared(picture, answer.text)

    def close(self) -> None:
        self._channel.close()


def compared(picture: bytes, text: str) -> Answer:
    """Whether the model says what it should."""
    expected = picture.decode().upper()
    return Answer(RIGHT) if text == expected else Answer(wrong=f"{text!r} instead of {expected!r}")
