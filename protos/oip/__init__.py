"""The Open Inference Protocol: its descriptor, in a descriptor pool of its own.

A process that has stubs of this package from elsewhere, as tritonclient brings them, can hold both.
"""

from typing import Any

from protos import private_pool


def descriptor() -> Any:  # noqa: ANN401 - a FileDescriptor
    """The file of the protocol."""
    return private_pool.file_descriptor(__name__, "inference")


def message_class(name: str) -> Any:  # noqa: ANN401 - classes made at run time, whose fields no stub declares
    """The class of a message, by its name without the package."""
    return private_pool.message_class(descriptor(), name)
