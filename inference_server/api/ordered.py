"""Answers to a stream of items in their order, some of them being computed at the same time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


async def in_order(
    items: AsyncIterator[Item], answer: Callable[[int, Item], Coroutine[Any, Any, Answer]], most: int
) -> AsyncGenerator[Answer, None]:
    """Answer items as they come; none is taken while `most` of them are not answered.

    Where `items` ends with an error, what came before is answered first. When this is closed early, all is
    cancelled that is not done.

    Args:
        items: What is asked.
        answer: Answers one, by its index, which begins at 0, and itself.
        most: How many may be under way at once.

    Raises:
        Exception: What `items` or `answer` raised.
    """
    room = asyncio.Semaphore(most)
    answers: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
    begun: set[asyncio.Task[Any]] = set()

    async def take() -> None:
        try:
            await room.acquire()
            index = 0
            async for item in items:
                task = asyncio.create_task(answer(index, item))
                del item  # which may be large, while there is no room for the next one
                begun.add(task)
                answers.put_nowait(task)
                index += 1
                await room.acquire()
        finally:
            answers.put_nowait(None)

    taking = asyncio.create_task(take())
    try:
        while (task := await answers.get()) is not None:
            yield await task
            begun.discard(task)
            room.release()
        await taking
    finally:
        for task in {taking, *begun}:
            task.cancel()
        await asyncio.gather(taking, *begun, return_exceptions=True)
