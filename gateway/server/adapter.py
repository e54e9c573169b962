"""A request of uvicorn's (ASGI) becomes a call of a Flask application (WSGI, PEP 3333)."""

import asyncio
import io
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway import problems
from gateway.arrival import Arrival, BodyRules, Environ
from gateway.server.body import PIPED_BODIES, Body
from gateway.server.call import Application, Call
from gateway.server.protocol import Protocol
from utils.errors import Cancelled, GatewayBusy
from utils.tracing import NO_TRACER

_APPLICATION = "application"
"""Of a request's state: what answers it, which is the listener's."""


def state_for(application: Application) -> dict[str, Any]:
    """The state that the requests of a listener have, so that this application answers them."""
    return {_APPLICATION: application}


class Threads:
    """Threads that call the application, and the queue of requests that wait for one."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, "requests")
        # Unlike the pool's own queue, this one lets go of a request, and its body, whose client leaves.
        self._free = asyncio.Semaphore(count)

    @property
    def all_taken(self) -> bool:
        """Whether a call would have to wait."""
        return self._free.locked()

    async def run(self, call: Call, connection: Protocol) -> bytes:
        """Have the application called in a thread, which is not held while the rest of its answer is sent.

        Raises:
            Cancelled: The client has left before.
            Exception: What the application raised.
        """
        if self._free.locked():
            waiting = asyncio.current_task()
            assert waiting is not None
            connection.on_disconnect(waiting.cancel)
        try:
            await self._free.acquire()
        except asyncio.CancelledError as error:
            raise Cancelled("The caller left while its request waited for a thread.") from error
        finally:
            connection.on_disconnect(None)
        try:
            if connection.left:
                raise Cancelled("The caller left before its request was looked at.")
            self._pool.submit(call.run)
            return await call.outcome
        finally:
            self._free.release()


class Adapter:
    """The ASGI application, for all listeners: they share its limits. Made and called on the event loop.

    An application may have `body_rules`, what bodies it accepts (none, where it has no such attribute),
    `error_format`, how it tells failures, and `tracer`, which decides what is traced.

    Args:
        threads: How many requests it answers at once.
        budget: Bytes of bodies that may be held at once.
        pause: Seconds without a byte of a body after which no more is waited for.
        stopping: Whether the whole gateway is about to stop.
    """

    def __init__(
        self,
        *,
        threads: int,
        budget: int,
        pause: float,
        stopping: Callable[[], bool],
    ) -> None:
        self._stopping = stopping
        self._threads, self._piped_threads = Threads(threads), Threads(PIPED_BODIES)
        self._most, self._budget, self._pause = budget, budget, pause

    async def __call__(self, scope: Any, _receive: Any, _send: Any) -> None:  # noqa: ANN401 - ASGI's
        """Answer one request."""
        connection, cycle, head_ended = scope["state"]["request"]
        application = scope["state"][_APPLICATION]
        await asyncio.sleep(0)  # for what came with the head: the body, or the end of a client that has left
        await connection.flow.drain()  # who does not take the answers before this one gets no other
        environ = environ_of(scope)
        counters = connection.server_state.counters
        tracer = getattr(application, "tracer", NO_TRACER)
        arrival = Arrival(connection, head_ended, head_ended, self._stopping(), counters, tracer)
        arrival.add_to(environ)
        error_format: problems.ErrorFormat = getattr(application, "error_format", problems.problem)
        call = Call(application, environ, error_format, connection, cycle)
        threads, pieces = self._threads, list[bytes]()
        try:
            rules: BodyRules = getattr(application, "body_rules", lambda _environ: None)
            rule = rules(environ)
            if rule is not None:
                # int() refuses thousands of zeros, which HTTP allows.
                length = int(environ.get("CONTENT_LENGTH", "").lstrip("0") or 0)
                if length > rule.limit:
                    raise rule.too_large(str(length))
                body = Body(connection, cycle, rule, self._pause, head_ended)
                if rule.piped:
                    if self._piped_threads.all_taken:  # for long, perhaps
                        raise GatewayBusy(
                            f"This process reads {PIPED_BODIES} bodies while they arrive, as many as it may.",
                            retry_after=1.0,
                        )
                    threads, environ["wsgi.input"] = self._piped_threads, body.as_file()
                else:
                    await self._collect(body, pieces)
                    environ["wsgi.input"] = io.BytesIO(pieces[0])
                    environ["CONTENT_LENGTH"] = str(body.size)
                    arrival.body_ended = time.monotonic()
            await call.send(await threads.run(call, connection), last=True)
        except Exception as error:  # noqa: BLE001 - what is no FacetError is told as a fault of ours
            await call.refuse(error)
        finally:
            self._budget += sum(map(len, pieces))
            # When the answer is on its way. A thread that did it would fight for the interpreter lock.
            asyncio.get_running_loop().call_soon(call.close)

    @property
    def held_bytes(self) -> int:
        """Bytes of bodies that are held."""
        return self._most - self._budget

    async def _collect(self, body: Body, pieces: list[bytes]) -> None:
        """Wait for all of a body, in the end as one piece; what has come is taken of the budget."""
        while not body.ended:
            piece = await body.next_piece()
            pieces.append(piece)
            self._budget -= len(piece)
            if self._budget < 0:
                raise GatewayBusy("This process holds as many bytes of bodies as it may.", retry_after=1.0)
        pieces[:] = [b"".join(pieces)]


def environ_of(scope: Any) -> Environ:  # noqa: ANN401 - ASGI's
    """The WSGI environment of a request without its body.

    Fields whose names have an underscore are dropped: they would be taken for those with a hyphen.
    """
    host, port = scope["server"] or ("", None)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if b"_" not in name:
            key = name.decode("latin-1").upper().replace("-", "_")
            if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
                key = f"HTTP_{key}"
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
