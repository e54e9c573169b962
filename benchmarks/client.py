"""One client process: sends what a plan on standard input says, writes what came of it to standard output.

    plan (one line of JSON) ─► "ready" ◄─ start time ─► one line of JSON: a row for each call

A plan has `target`, `timeout`, `channels` (how many, each a connection of its own), `pictures` (files), and
either `open`, rows of (when, channel, picture, seconds that the detector sleeps) that are sent at their time
whatever came of those before, or `closed`, so many calls at any time for so long. All times are in seconds;
those of a plan and of its rows count from the start time, which is one of the monotonic clock.

Requests are encoded before the start and answers read after the end, because the client shares the CPUs with
the servers: what it takes while they are measured, it takes from them.
"""

import asyncio
import gc
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import uvloop

from benchmarks.load import WARM_UP_CALLS, Row
from benchmarks.pacing import pace
from inference_server.supervision.processes import die_with_parent
from protos import infer_pb2 as pb
from utils.channel import channel_options

_LARGEST = 10 * 1024**2
_WARM_UP_SLEEP = 0.0


class Call(NamedTuple):
    """What came of a call: the first fields of its row, and its answer, where it has one."""

    at: float
    sent: float
    ended: float
    code: str
    answer: bytes | None


class Client:
    """The channels of this process, and what came of their calls."""

    def __init__(self, plan: dict[str, Any]) -> None:
        options = [*channel_options(_LARGEST), ("grpc.use_local_subchannel_pool", 1)]
        self._channels = [
            grpc.aio.insecure_channel(plan["target"], options=options) for _ in range(plan["channels"])
        ]
        # Bytes to bytes.
        self._methods: list[Any] = [channel.unary_unary("/Inference/Predict") for channel in self._channels]
        pictures = [Path(path).read_bytes() for path in plan["pictures"]]
        self._timeout: float = plan["timeout"]
        self._sleeps = _sleeps(plan)
        self._messages = {
            (number, seconds): _message(picture, seconds)
            for number, picture in enumerate(pictures)
            for seconds in {*self._sleeps, _WARM_UP_SLEEP}
        }
        self._pictures = len(pictures)
        self._start = 0.0
        self._calls: list[Call] = []

    async def connect(self) -> None:
        """Make each connection, and use it."""
        for number in range(len(self._methods)):
            for _ in range(WARM_UP_CALLS):
                await self.call(0.0, number, 0, _WARM_UP_SLEEP)
        self._calls.clear()

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    async def call(self, at: float, channel: int, picture: int, seconds: float | None) -> None:
        """Make one call and keep what came of it."""
        message = self._messages[picture, seconds]
        sent = time.monotonic() - self._start
        answer, code = None, "OK"
        try:
            answer = await self._methods[channel](message, timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        ended = time.monotonic() - self._start
        self._calls.append(Call(at, sent, ended, code, answer))

    def rows(self) -> list[Row]:
        """What came of all calls."""
        sleeping = None not in self._sleeps
        return [_row(call, sleeping=sleeping) for call in self._calls]

    async def open_loop(self, start: float, requests: list[tuple[float, int, int, float | None]]) -> None:
        """Send each request at its time."""
        self._start = start
        loop = asyncio.get_running_loop()
        calls: list[asyncio.Task[None]] = []

        def begin(number: int) -> None:
            calls.append(loop.create_task(self.call(*requests[number])))

        await pace([start + at for at, *_ in requests], begin)
        await asyncio.gather(*calls)

    async def closed_loop(self, start: float, closed: dict[str, Any]) -> None:
        """Keep so many calls under way, pictures and sleeps in the order of their lists, for so long."""
        self._start = start
        pictures, sleeps = itertools.cycle(range(self._pictures)), itertools.cycle(self._sleeps)

        async def caller(channel: int) -> None:
            while (now := time.monotonic() - start) < closed["seconds"]:
                await self.call(now, channel, next(pictures), next(sleeps))

        await asyncio.sleep(max(start - time.monotonic(), 0))
        channels = len(self._channels)
        await asyncio.gather(*(caller(number % channels) for number in range(closed["in_flight"])))


def _sleeps(plan: dict[str, Any]) -> list[float | None]:
    """How long the detector is to sleep, in turn in a closed loop; None where it detects."""
    if "closed" in plan:
        return list(plan["closed"]["sleeps"])
    return list({seconds for *_, seconds in plan["open"]})


def _message(picture: bytes, seconds: float | None) -> bytes:
    options = None if seconds is None else pb.DetectOptions(threshold_output=seconds)
    message: bytes = pb.Image(raw_data=picture, options=options).SerializeToString()
    return message


def _row(call: Call, *, sleeping: bool) -> Row:
    if call.answer is None:
        return Row(*call[:4], worker=0, begun=0, service=0.0)
    reply = pb.InferResults.FromString(call.answer)
    service = (reply.timings.decode_ms + reply.timings.detect_ms) / 1000
    nose = reply.results[0].landmarks.nose if sleeping else None
    worker, begun = (0, 0) if nose is None else (int(nose.x), int(nose.y))
    return Row(*call[:4], worker, begun, service)


async def main() -> None:
    """Carry out the plan."""
    plan = json.loads(sys.stdin.readline())
    die_with_parent(plan["parent"])
    client = Client(plan)
    await client.connect()
    print(json.dumps("ready"), flush=True)
    start = float(sys.stdin.readline())
    gc.disable()  # no call shall wait for a collection of this process, which does not live long
    if "open" in plan:
        await client.open_loop(start, plan["open"])
    else:
        await client.closed_loop(start, plan["closed"])
    await client.close()
    print(json.dumps(client.rows()))


if __name__ == "__main__":
    uvloop.run(main())
