"""Sketch: the descriptors of the models' own methods."""

from collections.abc import Iterable

from google.protobuf.descriptor_pool import DescriptorPool

from inference_server.catalogue.entries import ModelVersion

FILE = "facet/typed.proto"


def typed_pool(versions: Iterable[ModelVersion]) -> DescriptorPool:
    """A pool with the service ModelgRPCService."""
    raise NotImplementedError(versions)
