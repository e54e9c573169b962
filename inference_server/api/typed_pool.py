"""The descriptors of the models' own methods, for reflection."""

import base64
import logging
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from inference_server.api.typed import PREDICT, PREDICT_STREAM
from inference_server.catalogue.entries import ModelVersion
from inference_server.catalogue.names import identifier
from protos import models_pb2
from protos.articles import descriptor
from utils.logs import fields

logger = logging.getLogger(__name__)

FILE = "facet/typed.proto"
"""The name of the file that declares the service."""

_OUTPUT, _ERROR = "output", "error"


def typed_pool(versions: Iterable[ModelVersion]) -> DescriptorPool:
    """A pool with the service ModelgRPCService as it is now, and all that its methods mention.

    Args:
        versions: Those that are called by their models' own methods; those without a card are passed over.
    """
    pool = DescriptorPool()
    base = descriptor("many_models")
    [service] = base.service
    typed = FileDescriptorProto(
        name=FILE, package=base.package, syntax="proto3", dependency=[base.name], service=[service]
    )
    base.ClearField("service")  # which this file declares with more methods
    pool.AddSerializedFile(base.SerializeToString())
    for version in versions:
        if version.card is not None:
            _add_model(typed, pool, version.name, version.card)
    pool.AddSerializedFile(typed.SerializeToString())
    return pool


def _add_model(typed: FileDescriptorProto, pool: DescriptorPool, name: str, card: Any) -> None:  # noqa: ANN401
    """Add a model's messages to a pool, and its methods to the service."""
    messages = FileDescriptorProto.FromString(base64.b64decode(card["descriptor"]))
    prefix = identifier(name)
    stream = FileDescriptorProto(
        name=f"facet/streams/{prefix}.proto",
        package=typed.package,
        syntax="proto3",
        dependency=[messages.name],
        message_type=[_item(f"{prefix}_item", f".{typed.package}.{card['output_type']}", typed.package)],
    )
    try:
        for file in (messages, stream):
            pool.AddSerializedFile(file.SerializeToString())
    except TypeError as error:  # it declares what another one has declared
        logger.warning("model not shown", extra=fields(model=name, reason=str(error)))
        return
    typed.dependency.extend([messages.name, stream.name])
    taken, given = (f".{typed.package}.{card[key]}" for key in ("input_type", "output_type"))
    typed.service[0].method.add(name=prefix + PREDICT, input_type=taken, output_type=given)
    typed.service[0].method.add(
        name=prefix + PREDICT_STREAM,
        input_type=taken,
        output_type=f".{typed.package}.{prefix}_item",
        client_streaming=True,
        server_streaming=True,
    )


def _item(name: str, output_type: str, package: str) -> DescriptorProto:
    """StreamItem of models.proto as a message of one model's."""
    item, error = DescriptorProto(), DescriptorProto()
    models_pb2.StreamItem.DESCRIPTOR.CopyToProto(item)
    models_pb2.StreamError.DESCRIPTOR.CopyToProto(error)
    item.name, error.name = name, "Error"
    types = {_OUTPUT: output_type, _ERROR: f".{package}.{name}.Error"}
    for field in item.field:
        if field.name in types:
            field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, types[field.name]
    item.nested_type.append(error)
    return item
