"""The paths of models, whichever they are."""

from gateway.openapi import failures
from gateway.openapi.elements import (
    JSON,
    MULTIPART,
    Element,
    answer,
    body,
    in_path,
    media,
    operation,
    ref,
    schema,
)
from utils.settings import MODEL_NAME

TAG = "models"
MODEL_HEADER: Element = {
    "description": "NAME/VERSION of the model that has answered.",
    "required": True,
    "schema": {"type": "string"},
}
NAME = in_path("name", "Of the model.", pattern=f"^{MODEL_NAME.pattern}$")
VERSION = in_path("version", "Of the model; 1 is also 1.0.", pattern="^(?!predict$)[!-.0-~]+$")


def predicted(described: Element) -> dict[str, Element]:
    """The answers of a model: one by this schema, and its failures."""
    success = answer("The answer of the model.", {JSON: described}, X_Model=ref("headers", "X-Model"))
    return {"200": success, **failures.PREDICTION.answers()}


def paths() -> dict[str, Element]:
    """Each path and its methods."""
    listed = answer("Every version of every model.", {JSON: schema("Models")})
    made: dict[str, Element] = {
        "/models": {
            "get": operation(
                "listModels", TAG, "List the models", {"200": listed, **failures.CATALOGUE.answers()}
            )
        }
    }
    for suffix, of_version, parameters in (("", "", [NAME]), ("/{version}", "Version", [NAME, VERSION])):
        path = f"/models/{{name}}{suffix}"
        described = answer("The version, with its schemas.", {JSON: schema("Model")})
        made[path] = {
            "get": operation(
                f"describeModel{of_version}",
                TAG,
                "Say what a model takes and answers",
                {"200": described, **failures.MODEL.answers()},
                parameters=parameters,
            )
        }
        content = media({JSON: schema("ModelInput"), MULTIPART: schema("ModelInput")})
        made[f"{path}/predict"] = {
            "post": operation(
                f"predictModel{of_version}",
                TAG,
                "Have a model answer one input",
                predicted(schema("ModelAnswer")),
                parameters=parameters,
                request=body(content, "An input, as the model describes it."),
            )
        }
    return made
