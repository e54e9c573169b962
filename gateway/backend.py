"""What the gateway needs of its connection to the backend, and the connection."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, Unpack

from utils.call_options import CallOptions
from utils.calls import Call
from utils.cancellation import Cancellation
from utils.domain import Detection, DetectRequest
from utils.errors import BackendUnavailable, KeyRefused
from utils.models import ModelDescription, Prediction
from utils.service_client import BlockingCallOptions, ServiceClient

_RETRY_SECONDS = 1.0

T = TypeVar("T")


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


class BackendClient(ServiceClient):
    """A ServiceClient whose own key is no business of those whom it asks for."""

    def _make(
        self, call: Call[T], *, cancellation: Cancellation | None = None, **options: Unpack[CallOptions]
    ) -> T:
        try:
            return super()._make(call, cancellation=cancellation, **options)
        except KeyRefused as error:
            refused = BackendUnavailable(
                "The backend does not take the key of this gateway.", retry_after=_RETRY_SECONDS
            )
            refused.cause = f"{error.reason}: {error.detail}"
            raise refused from error
