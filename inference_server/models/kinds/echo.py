"""The built-in model `echo`: gives back what it was given. For trying out how models are called and fail."""

import time
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from facet_serving import InvalidInput, Model

_MOST_CHARACTERS = 16 * 1024**2


class EchoInput(BaseModel):
    """A text, and what to do with it."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field("", description="What to give back.")
    repeat: int = Field(1, ge=1, le=1000, description="How many times.")
    sleep_seconds: float = Field(0, ge=0, le=60, description="How long to wait before.")
    fail: bool = Field(default=False, description="Whether to fail, as a model with a fault does.")


class EchoOutput(BaseModel):
    """The text."""

    text: str


class Echo(Model):
    """Gives back a text."""

    name = "echo"
    description = "Gives back a text; waits or fails where it is asked to."
    Input = EchoInput
    Output = EchoOutput
    max_batch = 8

    def predict(self, inputs: Sequence[EchoInput]) -> list[EchoOutput]:
        """Answer each input.

        Raises:
            InvalidInput: A text would become too long.
            RuntimeError: One is to fail.
        """
        return [self._answer(one) for one in inputs]

    def _answer(self, one: EchoInput) -> EchoOutput:
        time.sleep(one.sleep_seconds)
        if one.fail:
            raise RuntimeError("an input asked for a failure")
        if len(one.text) * one.repeat > _MOST_CHARACTERS:
            raise InvalidInput(
                f"text times repeat is {len(one.text) * one.repeat} characters; accepted: {_MOST_CHARACTERS}",
                field="repeat",
            )
        return EchoOutput(text=one.text * one.repeat)
