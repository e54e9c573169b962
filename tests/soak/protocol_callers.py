"""Clients of the protocols of others that call a model, compare the answers, and never try again."""

import json
from collections.abc import Callable
from typing import Any

import grpc

from protos import torchserve
from tests.soak.endpoints import PATIENCE, Answer, HttpCaller, of_error
from tests.soak.identities import Account
from tests.soak.model_callers import MODEL, compared
from tests.support import open_inference
from utils.channel import error_of


class _BytesOnce:
    """A client of a method that takes a message and gives one."""

    def __init__(self, address: str, account: Account, method: str) -> None:
        self._channel, self._account = account.channel(address), account
        self._call: Callable[..., bytes] = self._channel.unary_unary(method)

    def ask(self, picture: bytes) -> Answer:
        try:
            answer = self._call(self.request(picture), timeout=PATIENCE)
        except grpc.RpcError as error:
            return of_error(error_of(error))
        self._account.count("gRPC")
        return compared(picture, self.text(answer))

    def request(self, picture: bytes) -> bytes:
        """What is sent."""
        raise NotImplementedError

    def text(self, answer: bytes) -> str:
        """The model's."""
        raise NotImplementedError

    def close(self) -> None:
        self._channel.close()


class TorchServeOnce(_BytesOnce):
    """TorchServe's, by gRPC."""

    def __init__(self, address: str, account: Account) -> None:
        super().__init__(address, account, f"/{torchserve.service_name('inference')}/Predictions")

    def request(self, picture: bytes) -> bytes:
        request = torchserve.message_class("inference", "PredictionsRequest")
        content: bytes = request(model_name=MODEL, input={"text": picture}).SerializeToString()
        return content

    def text(self, answer: bytes) -> str:
        response = torchserve.message_class("inference", "PredictionResponse").FromString(answer)
        return str(json.loads(response.prediction)["text"])


class TensorsOnce(_BytesOnce):
    """One of the Open Inference Protocol, by gRPC."""

    def __init__(self, address: str, account: Account) -> None:
        super().__init__(address, account, f"/{open_inference.SERVICE}/ModelInfer")

    def request(self, picture: bytes) -> bytes:
        text = open_inference.tensor("text", "BYTES", [1], bytes_contents=[picture])
        return open_inference.request(text, model_name=MODEL)

    def text(self, answer: bytes) -> str:
        [text] = open_inference.answered(answer)["text"]
        return str(text.decode())


class _HttpOnce(HttpCaller):
    """A client of the gateway."""

    content_type = "application/json"
    repeats = False
    path = ""

    def __init__(self, address: str, account: Account) -> None:
        super().__init__(address, account, self.path, patient=True)


class TorchServeHttpOnce(_HttpOnce):
    """TorchServe's, by HTTP."""

    path = f"/predictions/{MODEL}"

    def _body(self, picture: bytes) -> bytes:
        return json.dumps({"text": picture.decode()}).encode()

    def _found(self, picture: bytes, said: dict[str, Any]) -> Answer:
        return compared(picture, said["text"])


class TensorsHttpOnce(_HttpOnce):
    """One of the Open Inference Protocol, by HTTP."""

    path = f"/v2/models/{MODEL}/infer"

    def _body(self, picture: bytes) -> bytes:
        text = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [picture.decode()]}
        return json.dumps({"inputs": [text]}).encode()

    def _found(self, picture: bytes, said: dict[str, Any]) -> Answer:
        [text] = next(one["data"] for one in said["outputs"] if one["name"] == "text")
        return compared(picture, text)
