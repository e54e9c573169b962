"""Answers to a stream of items, some of them being computed at the same time, in either order."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from inference_server.api.spans import as_item

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Answering = Callable[[int, Item], Coroutine[Any, Any, Answer]]


def in_order(
    items: AsyncIterator[Item], answer: Answering[Item, Answer], most: int
) -> AsyncGenerator[Answer, None]:
    """Answer items as they come, in their order; none is taken while `most` of them are not answered.

    An item is answered once its answer has been taken here and the next one is asked for. Where `items` ends
    with an error, what came before is answered first. When this is closed early, all is cancelled that is
    not done.

    Args:
        items: What is asked.
        answer: Answers one, by its index, which begins at 0, and itself.
        most: How many may be under way at once.

    Raises:
        Exception: What `items` or `answer` raised.
    """
    return _answers(items, answer, most, ordered=True)


def as_finished(
    items: AsyncIterator[Item], answer: Answering[Item, Answer], most: int
) -> AsyncGenerator[Answer, None]:
    """The same, but each answer as soon as it is there."""
    return _answers(items, answer, most, ordered=False)


async def _answers(
    items: AsyncIterator[Item], answer: Answering[Item, Answer], most: int, *, ordered: bool
) -> AsyncGenerator[Answer, None]:
    room = asyncio.Semaphore(most)
    answers: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
    begun: set[asyncio.Task[Any]] = set()

    async def take() -> None:
        try:
            await room.acquire()
            index = 0
            async for item in items:
                task = asyncio.create_task(as_item(answer(index, item)))
                del item  # which may be large, while there is no room for the next one
                begun.add(task)
                if ordered:
                    answers.put_nowait(task)
                else:
                    task.add_done_callback(answers.put_nowait)
                index += 1
                await room.acquire()
        finally:
            answers.put_nowait(None)

    taking = asyncio.create_task(take())
    all_taken = False
    try:
        while begun or not all_taken:
            task = await answers.get()
            if task is None:
                all_taken = True
                continue
            yield await task
            begun.discard(task)
            room.release()
        await taking
    finally:
        for task in {taking, *begun}:
            task.cancel()
        await asyncio.gather(taking, *begun, return_exceptions=True)
