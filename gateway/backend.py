"""What the gateway needs of its connection to the backend."""

from collections.abc import Mapping
from typing import Any, Protocol, Unpack

from utils.domain import Detection, DetectRequest
from utils.models import ModelDescription, Prediction
from utils.service_client import BlockingCallOptions


class Backend(Protocol):
    """As utils.service_client.ServiceClient, which has the arguments; each method may raise a FacetError."""

    def detect(self, request: DetectRequest, **options: Unpack[BlockingCallOptions]) -> Detection:
        """Find the faces in one encoded picture."""

    def predict_raw(
        self,
        name: str,
        content_type: str,
        content: bytes,
        *,
        version: str = "",
        **options: Unpack[BlockingCallOptions],
    ) -> Prediction:
        """Have a model answer a body as it came."""

    def predict_encoded(
        self,
        name: str,
        operation: str,
        content: bytes,
        *,
        parameters: bytes = b"",
        version: str = "",
        **options: Unpack[BlockingCallOptions],
    ) -> Prediction:
        """Have a model answer an input in any of the encodings that it lists."""

    def inference_protocol(
        self, method: str, arguments: Mapping[str, Any], **options: Unpack[BlockingCallOptions]
    ) -> dict[str, Any]:
        """Ask a method of the Open Inference Protocol whose messages have no tensors."""

    def models(self, **options: Unpack[BlockingCallOptions]) -> list[ModelDescription]:
        """Every version of every model."""

    def describe(
        self, name: str, version: str = "", **options: Unpack[BlockingCallOptions]
    ) -> ModelDescription:
        """One version of a model."""

    def check_ready(self, *, timeout: float | None = None) -> None:
        """Return when the backend serves."""
