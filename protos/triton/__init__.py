"""Triton's configuration of a model: its message, in a descriptor pool of its own.

Its names are also those of the Open Inference Protocol, which cannot be in one pool with it.
"""

from typing import Any

from protos import private_pool


def model_config_class() -> Any:  # noqa: ANN401 - a class made at run time, whose fields no stub declares
    """The class of `inference.ModelConfig`."""
    return private_pool.message_class(private_pool.file_descriptor(__name__, "model_config"), "ModelConfig")
