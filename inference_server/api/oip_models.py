"""The models as the Open Inference Protocol tells of them: their tensors, configurations and versions."""

from collections.abc import Mapping
from typing import Any

from inference_server.api.registry import ModelRegistry
from inference_server.catalogue.entries import ModelVersion, State
from inference_server.catalogue.names import whole_number
from protos.oip import message_class
from utils.errors import ModelNotFound, ModelNotReady, shown

_STATES = {State.READY: "READY", State.LOADING: "LOADING"}
"""All others are UNAVAILABLE."""
_DATA_TYPES = {"BYTES": "TYPE_STRING"}
"""Those that a configuration does not call TYPE_ and the datatype."""


class ProtocolModels:
    """Finds models by what the protocol calls them, and describes them.

    Args:
        registry: Of the models.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def number(self, name: str, version: str) -> str:
        """The version that a request means.

        Raises:
            ModelNotFound: There is no such model, or no such version of it.
        """
        versions = {one.version for one in self._registry.current().of(name)}
        if not versions:
            raise ModelNotFound(
                f"Request for unknown model: '{shown(name)}' is not found", field="model_name"
            )
        number = self._registry.meant(name, version)
        if number and number not in versions:
            raise ModelNotFound(
                f"Request for unknown model: '{shown(name)}' has no version {shown(version)}",
                field="model_version",
            )
        return number

    def versions(self, name: str, version: str) -> list[ModelVersion]:
        """What a question is about: all versions of all models, or of one, or one; raises as `number`."""
        catalogue = self._registry.current()
        if not name:
            return [one for each in catalogue.names() for one in catalogue.of(each)]
        number = self.number(name, version)
        return [one for one in catalogue.of(name) if number in ("", one.version)]

    def is_ready(self, name: str, version: str) -> bool:
        """Whether calls to it are served."""
        try:
            self._registry.find(name, self.number(name, version))
        except (ModelNotFound, ModelNotReady):
            return False
        return True

    def metadata(self, name: str, version: str) -> Any:  # noqa: ANN401 - a ModelMetadataResponse
        """The tensors of a model; raises as `number`, or ModelNotReady where it was never loaded."""
        found, tensors = self._tensors(name, version)
        described = message_class("ModelMetadataResponse")(
            name=name,
            versions=[whole_number(one.version) for one in self._registry.current().of(name)],
            platform=found.source.kind,
        )
        for part in ("inputs", "outputs"):
            for tensor in tensors[part]:
                names = {key: tensor[key] for key in ("name", "datatype", "shape")}
                getattr(described, part).add(**names)
        return described

    def config(self, name: str, version: str) -> Any:  # noqa: ANN401 - a ModelConfigResponse
        """The same as Triton configures it: where the first dimension counts items, without that."""
        found, tensors = self._tensors(name, version)
        batched = tensors["batched"]
        answer = message_class("ModelConfigResponse")()
        config = answer.config
        config.name = name
        config.platform = config.backend = found.source.kind
        config.max_batch_size = (found.card or {})["max_batch"] if batched else 0
        for tensor in tensors["inputs"]:
            config.input.add(**_configured(tensor, batched=batched), optional=not tensor["required"])
        for tensor in tensors["outputs"]:
            config.output.add(**_configured(tensor, batched=batched))
        return answer

    def index(self, *, ready: bool) -> Any:  # noqa: ANN401 - a RepositoryIndexResponse
        """All versions of all models, or those that are ready."""
        listed = message_class("RepositoryIndexResponse")()
        for one in self.versions("", ""):
            if one.state is State.READY or not ready:
                state = _STATES.get(one.state, "UNAVAILABLE")
                version = whole_number(one.version)
                listed.models.add(name=one.name, version=version, state=state, reason=_reason(one))
        return listed

    def _tensors(self, name: str, version: str) -> tuple[ModelVersion, Mapping[str, Any]]:
        found = self._registry.describe(name, self.number(name, version))
        tensors = (found.card or {}).get("tensors")  # which a release before this protocol did not keep
        if tensors is None:
            raise ModelNotReady(f"The model {name} has not been loaded yet.", field="name")
        return found, tensors


def _configured(tensor: Mapping[str, Any], *, batched: bool) -> dict[str, Any]:
    datatype = tensor["datatype"]
    return {
        "name": tensor["name"],
        "data_type": _DATA_TYPES.get(datatype, f"TYPE_{datatype}"),
        "dims": tensor["shape"][1:] if batched else tensor["shape"],
    }


def _reason(version: ModelVersion) -> str:
    return "unloaded" if version.state is State.IDLE else version.failure
