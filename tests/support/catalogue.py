"""Versions of models for tests, and a manager with groups of processes that are none."""

from inference_server.catalogue.entries import ModelSettings, ModelVersion, Source, State


def version(name: str = "iris", number: str = "1.0", state: State = State.READY) -> ModelVersion:
    """A version of a model."""
    return ModelVersion(name, number, name, Source("echo"), ModelSettings(), 1, state, loaded_at_start=True)
