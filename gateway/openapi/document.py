"""What of the document does not depend on the models that there are."""

from collections.abc import Iterable, Mapping

from gateway.openapi import batches, faces, failures, models, oip, schemas, service
from gateway.openapi.elements import COMMON_HEADERS, COMMON_PARAMETERS, Element
from gateway.openapi.security import with_keys
from utils.settings import Settings
from utils.version import VERSION


def static_document(settings: Settings, page_files: Mapping[str, Iterable[str]]) -> Element:
    """A whole document, with the paths of any model and of none in particular.

    Args:
        settings: Limits, whether there are the paths of the Open Inference Protocol, and keys.
        page_files: Of each page, by the folder below which they are served.
    """
    groups = [*failures.GROUPS, *(failures.PROTOCOL_GROUPS if settings.oip else ())]
    of_protocol = oip.schemas() if settings.oip else {}
    document: Element = {
        "openapi": "3.1.1",
        "info": {
            "title": "Facet",
            "version": VERSION,
            "description": "Finds faces in pictures, and serves other models.",
        },
        "paths": {
            **faces.paths(),
            **batches.paths(),
            **models.paths(),
            **(oip.paths() if settings.oip else {}),
            **service.paths(page_files),
        },
        "components": {
            "schemas": schemas.components(settings) | batches.schemas(settings) | of_protocol,
            "responses": {name: one for group in groups for name, one in group.components().items()},
            "parameters": {**COMMON_PARAMETERS},
            "headers": {**COMMON_HEADERS, "X-Model": models.MODEL_HEADER},
        },
    }
    return with_keys(document, settings)
