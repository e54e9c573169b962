"""A request of uvicorn's (ASGI) becomes a call of the Flask application (WSGI, PEP 3333)."""

import asyncio
import io
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway.arrival import Arrival, BodyRules, Environ
from gateway.server.body import Body, Budget, Pipe
from gateway.server.call import Application, Call, Threads
from gateway.server.protocol import Protocol

PIPED_THREADS = 4
"""Beside the others, for requests whose body is read while it arrives: they may hold a thread for long."""


class Adapter:
    """The ASGI application. Made and called on the event loop.

    Args:
        application: Answers requests.
        rules: What bodies it accepts.
        threads: How many requests it answers at once.
        budget: Bytes of bodies that may be held at once.
        pause: Seconds without a byte of a body after which no more is waited for.
        stopping: Whether the whole gateway is about to stop.
    """

    def __init__(
        self,
        application: Application,
        rules: BodyRules,
        *,
        threads: int,
        budget: int,
        pause: float,
        stopping: Callable[[], bool],
    ) -> None:
        self._application, self._rules, self._stopping = application, rules, stopping
        self._threads, self._piped = Threads(threads), Threads(PIPED_THREADS)
        self._budget, self._pause = Budget(budget), pause

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        """Answer one request."""
        connection, cycle, head_ended = scope["state"]["request"]
        await asyncio.sleep(0)  # for what came with the head: the body, or the end of a client that has left
        await connection.flow.drain()  # who does not take the answers before this one gets no other
        environ = environ_of(scope)
        arrival = Arrival(connection, head_ended, head_ended, self._stopping())
        arrival.add_to(environ)
        call = Call(self._application, environ, connection, cycle, send)
        body = None
        try:
            rule = self._rules(environ)
            if rule is not None:
                body = Body(connection, cycle, rule, self._pause, head_ended)
                # int() refuses thousands of zeros, which HTTP allows.
                body.check_length(int(environ.get("CONTENT_LENGTH", "").lstrip("0") or 0))
            if body is not None and not body.rule.piped:
                environ["wsgi.input"] = io.BytesIO(await body.collect(self._budget))
                environ["CONTENT_LENGTH"] = str(body.size)
                arrival.body_ended = time.monotonic()
            await self._run(call, connection, body)
            await call.answer()
        except Exception as error:  # noqa: BLE001 - what is no FacetError is told as a fault of ours
            await call.refuse(error, head_ended)
        finally:
            if body is not None:
                self._budget.give_back(body.held)

    async def _run(self, call: Call, connection: Protocol, body: Body | None) -> None:
        """Have the application called when a thread is free, which is not held while the answer is sent."""
        piped = body is not None and body.rule.piped
        threads = self._piped if piped else self._threads
        await threads.take(connection)
        filling = None
        try:
            if body is not None and piped:
                call.environ["wsgi.input"] = pipe = Pipe()
                filling = asyncio.create_task(pipe.fill(body))
            await threads.run(call)
        finally:
            threads.give_back()
            if filling is not None:
                filling.cancel()


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
