"""Rules of how a call's message is received."""

import asyncio
from typing import Any

import pytest

from inference_server.api import messages
from inference_server.api.message_limits import MOST_UNFINISHED_BYTES
from inference_server.api.messages import MessageReceiver
from utils.channel import MIB, PREDICT, SERVICE
from utils.errors import DeadlineExceeded, FacetError, TooManyUnfinishedMessages

MODELS = "Models"


class Unfinished:
    """The context of a call whose message does not come."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def peer(self) -> str:
        """Its connection."""
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> float:
        """Until its deadline."""
        return self._seconds

    async def read(self) -> Any:  # noqa: ANN401
        """Wait for the message."""
        await asyncio.Event().wait()


async def outcomes(receiver: MessageReceiver, *seconds: float) -> list[Any]:
    """What calls with unfinished messages and so much time end with, in the order in which they began."""
    calls = [receiver.only(PREDICT, Unfinished(each), bytes) for each in seconds]
    return await asyncio.gather(*calls, return_exceptions=True)


def test_a_call_whose_deadline_came_before_a_place_is_told_so() -> None:
    """And to come again; its message cannot have been unfinished."""

    async def play() -> None:
        received, waited = await outcomes(MessageReceiver({SERVICE}, MOST_UNFINISHED_BYTES, 60.0), 0.4, 0.2)
        assert isinstance(received, DeadlineExceeded)
        assert isinstance(waited, TooManyUnfinishedMessages)
        assert waited.retry_after
        assert "No place" in waited.detail

    asyncio.run(play())


def test_pictures_inputs_and_streams_of_inputs_have_each_their_own_places() -> None:
    """So that none of them waits for messages of another kind; of each kind there is one place here."""

    async def play() -> None:
        largest = MOST_UNFINISHED_BYTES
        receiver = MessageReceiver({SERVICE}, largest, 60.0, models={MODELS}, largest_for_models=largest)
        context = Unfinished(0.2)
        calls = (
            receiver.only(PREDICT, context, bytes),
            receiver.only(f"/{MODELS}/Predict", context, bytes),
            anext(receiver.each(f"/{MODELS}/stream", context, bytes)),
            receiver.only(f"/{MODELS}/Predict", context, bytes),
        )
        errors = await asyncio.gather(*calls, return_exceptions=True)
        unfinished, waited = [DeadlineExceeded] * 3, TooManyUnfinishedMessages
        assert [type(error) for error in errors] == [*unfinished, waited]

    asyncio.run(play())


def test_memory_is_given_back_only_after_large_messages_were_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """16 MiB of them; of fewer it is kept for the next requests, which would have to take it anew."""
    trims: list[int] = []
    monkeypatch.setattr(messages, "_TRIM_SECONDS", 0.0)
    monkeypatch.setattr(messages, "trim_heap", lambda: trims.append(1))

    async def play() -> None:
        receiver = MessageReceiver({SERVICE}, MIB, 60.0)
        for count, expected in ((15, 0), (1, 1), (15, 1), (1, 2)):
            errors = await outcomes(receiver, *[0.2] * count)
            assert all(isinstance(error, FacetError) for error in errors)
            await asyncio.sleep(0.01)  # the event loop's next round
            assert len(trims) == expected

    asyncio.run(play())
