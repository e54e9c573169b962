"""The OpenAPI document as it is served: with the models that the backend has now."""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from gateway.context import current
from gateway.files import StoredFile
from gateway.openapi.document import static_document
from gateway.openapi.elements import JSON, Element
from gateway.openapi.typed_models import with_models
from gateway.recent import Recent
from utils.errors import FacetError
from utils.models import ModelDescription
from utils.settings import Settings

FRESH_SECONDS = 2.0
"""How old the list of the models may be."""
FETCH_SECONDS = 1.0
"""How long it is waited for."""
_MODELS = "x-facet-models"


class ApiDescription:
    """The document, made anew when the models have changed.

    Args:
        settings: As of the application that is described.
        page_files: Of each page, by the folder below which they are served.
        models: Every version of every model.
    """

    def __init__(
        self,
        settings: Settings,
        page_files: Mapping[str, Iterable[str]],
        models: Recent[list[ModelDescription]],
    ) -> None:
        self._models = models
        self._static = static_document(settings, page_files)
        self._without_models = _stored(self._static | {_MODELS: "unavailable"})
        self._listed: Sequence[ModelDescription] | None = None
        self._with_models = self._without_models

    def file(self) -> StoredFile:
        """The document; without models where the backend does not tell them, which the log says."""
        models = self._models.get()
        if isinstance(models, FacetError):
            current().note(reason=models.reason, cause=models.cause or None)
            return self._without_models
        if models != self._listed:
            self._with_models = _stored(with_models(self._static, models) | {_MODELS: "listed"})
            self._listed = models
        return self._with_models


def _stored(document: Element) -> StoredFile:
    return StoredFile.of(JSON, orjson.dumps(document))
