"""What callers and authors of models import.

A caller of a service:

    from facet_serving import ServiceClient

    with ServiceClient("127.0.0.1:50051") as client:
        for face in client.detect(Path("photo.jpg").read_bytes()).faces:
            print(face.box, face.confidence)

And the author of a model, for whom docs/models.md leads through a whole one:

    from pydantic import BaseModel
    from facet_serving import Model

    class Greeting(Model):
        name = "greeting"

        class Input(BaseModel):
            who: str

        class Output(BaseModel):
            text: str

        def predict(self, inputs):
            return [self.Output(text=f"Hello, {one.who}.") for one in inputs]

Neither loads what only the other needs: clients and modules are imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from utils.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from inference_server.models import local
    from utils import errors, extras
    from utils.async_service_client import AsyncServiceClient
    from utils.domain import DetectOptions, DetectRequest
    from utils.service_client import ServiceClient
    from utils.tls import ClientTls

__all__ = [
    "AsyncServiceClient",
    "ClientTls",
    "DetectOptions",
    "DetectRequest",
    "Double",
    "InvalidInput",
    "Model",
    "ServiceClient",
    "errors",
    "extras",
    "local",
]

_WHEN_ASKED_FOR = {
    "AsyncServiceClient": "utils.async_service_client:AsyncServiceClient",
    "ClientTls": "utils.tls:ClientTls",
    "DetectOptions": "utils.domain:DetectOptions",
    "DetectRequest": "utils.domain:DetectRequest",
    "ServiceClient": "utils.service_client:ServiceClient",
    "errors": "utils.errors",
    "extras": "utils.extras",
    "local": "inference_server.models.local",
}
"""Where a name is that is imported late: `module:attribute`, or a module itself."""


def __getattr__(name: str) -> object:
    if name not in _WHEN_ASKED_FOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _WHEN_ASKED_FOR[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


class Double:
    """Makes a float a `double` of protobuf: `Annotated[float, Double]`. Others are `float`, of 32 bits."""


class Model:
    """A model: it is loaded once in each of its processes, and then answers inputs on one thread.

    Attributes:
        name: What it is called where it is run without a backend, which calls it by its entry point or its
            folder in the store: 1 to 64 letters, digits, `.`, `_` and `-`, the first no mark.
        display_name: For people; empty for the name.
        version: Begins with a digit; compared as numbers, so that 1.10 is above 1.9.
        description: For people.
        Input: What one item is. Floats must be finite unless its `model_config` says `allow_inf_nan`.
        Output: What one answer is; the same holds.
        max_batch: Inputs that `predict` takes at once, 1 to 64, where the operator does not say.
    """

    name: str = ""
    display_name: str = ""
    version: str = "1.0"
    description: str = ""
    Input: type[BaseModel]
    Output: type[BaseModel]
    max_batch: int = 1

    def load(self, folder: Path | None, options: Mapping[str, Any]) -> None:
        """Prepare everything that `predict` needs; `Input` and `Output` may be made here, too.

        What it raises is the reason with which the registration fails.

        Args:
            folder: Of this version in the store; None where the model is from a package alone.
            options: The keys of model.toml that are the model's own.
        """

    def predict(self, inputs: list[Any]) -> list[Any]:
        """Answer inputs.

        Args:
            inputs: 1 to `max_batch` objects of the class Input.

        Returns:
            As many objects of the class Output, or what pydantic makes some of, in the same order.

        Raises:
            InvalidInput: An input is not acceptable for what its schema cannot say; its caller is told the
                text. Anything else that is raised is told as MODEL_FAILED, with the reason in the log alone.
                Where it is raised for several inputs, each of them is computed again alone.
        """
        raise NotImplementedError
