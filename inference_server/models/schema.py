"""The schema of a model: its messages in protobuf, and its inputs and outputs from and to their bytes."""

import base64
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from pydantic import BaseModel

from inference_server.catalogue.names import identifier
from inference_server.models.codec import Codec
from inference_server.models.descriptors import PACKAGE, Messages, describe
from inference_server.models.lock import Lock, entries_of
from inference_server.models.validation import Validation
from utils.errors import InvalidModel, MalformedRequest


class Schema:
    """What a model takes and gives.

    Its messages are in a descriptor pool of its own: two models, or two versions of one, do not meet.

    Args:
        name: The model's.
        model_input: The class of its inputs.
        model_output: The class of its outputs.
        lock: Gives the fields their numbers; without one they follow the order of the fields.

    Attributes:
        identifier: The name as protobuf can have it.
        descriptor: The file of its messages, `facet/models/IDENTIFIER.proto` in the package PACKAGE.
        input_type, output_type: Names of the messages, without the package.
        input_members, output_members: The members of the two classes.
        input, output: Validate objects, and read and write their JSON.

    Raises:
        InvalidModel: No messages can be made of the classes; names the field.
    """

    def __init__(
        self,
        name: str,
        model_input: type[BaseModel],
        model_output: type[BaseModel],
        lock: Lock | None = None,
    ) -> None:
        self.identifier = identifier(name)
        self.input_type, self.output_type = f"{self.identifier}_input", f"{self.identifier}_output"
        messages = describe(name, model_input, model_output, lock or Lock())
        self.descriptor = messages.file
        self.input_members, self.output_members = (
            [member for member, _ in messages.members[name]] for name in (self.input_type, self.output_type)
        )
        self._required = _required(messages, self.input_type)
        self._codec = Codec(messages)
        self._pool = DescriptorPool()
        try:
            self._pool.AddSerializedFile(messages.file.SerializeToString())
        except TypeError as error:  # a rule of protobuf that nothing here knows
            raise InvalidModel(f"protobuf refuses the messages of the model: {error}") from error
        self._input_class = self._message_class(self.input_type)
        self._output_class = self._message_class(self.output_type)
        self.input, self.output = Validation(model_input), Validation(model_output)

    def decode(self, payload: bytes) -> BaseModel:
        """An input from the bytes of its message.

        Raises:
            MalformedRequest: They are no such message.
            InvalidInput: Its values are not valid.
        """
        try:
            message = self._input_class.FromString(payload)
        except DecodeError as error:
            raise MalformedRequest(f"The bytes are no message {self.input_type} of protobuf.") from error
        return self.input.from_values(self._codec.read(self.input_type, message))

    def encode(self, output: BaseModel) -> bytes:
        """An output, which was checked, as the bytes of its message.

        Raises:
            ValueError: A number is too large for its field.
        """
        message = self._output_class()
        self._codec.write(self.output_type, output, message)
        content: bytes = message.SerializeToString()
        return content

    def card(self) -> dict[str, Any]:
        """The part of a model's card that says what it takes and gives, in protobuf and in JSON."""
        return {
            "identifier": self.identifier,
            "descriptor": base64.b64encode(self.descriptor.SerializeToString()).decode(),
            "input_type": self.input_type,
            "output_type": self.output_type,
            "fields": entries_of(self.descriptor),
            "required": self._required,
            "input_schema": self.input.json_schema("validation"),
            "output_schema": self.output.json_schema("serialization"),
        }

    def _message_class(self, name: str) -> type[Message]:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def _required(messages: Messages, name: str) -> dict[str, list[str]]:
    """The fields without a default of a message, and of those that it has as members."""
    found: dict[str, list[str]] = {}
    waiting = [name]
    while waiting:
        message = waiting.pop()
        if message in messages.members and message not in found:
            members = messages.members[message]
            found[message] = [member.name for member, _ in members if member.required]
            waiting.extend(named for _, named in members)
    return found
