"""The service that commands call over gRPC, wherever it runs."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from utils.errors import BackendUnavailable, DeadlineExceeded
from utils.settings import CLIENT_KEY, InvalidSetting, Settings

if TYPE_CHECKING:
    from utils.service_client import ServiceClient

_PROBE_SECONDS = 5.0


def calls_service(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all that call a service, as its arguments `address` and `timeout`."""
    function = click.option(
        "--timeout",
        type=click.FloatRange(0.01, 3600),
        default=60.0,
        show_default=True,
        help="Seconds that each answer may take.",
    )(function)
    return click.option(
        "--address", metavar="TARGET", help="The service's host:port, instead of FACET_BACKEND."
    )(function)


def connect(address: str | None, timeout: float) -> "ServiceClient":
    """A client of the service at an address, or at that of the environment, which also says how to call it.

    Raises:
        InvalidSetting: The environment does not.
        BackendUnavailable: Nothing serves there; names the address.
    """
    from utils.service_client import ServiceClient  # noqa: PLC0415 - not before a command runs: it takes long
    from utils.tls import client_tls  # noqa: PLC0415

    settings = Settings.from_environ(os.environ)
    target = address or settings.backend
    try:
        client = ServiceClient(
            target,
            timeout=timeout,
            max_image_bytes=settings.max_image_bytes,
            max_request_bytes=settings.max_request_bytes,
            tls=client_tls(settings),
        )
    except ValueError as error:
        raise InvalidSetting(f"{CLIENT_KEY}: {error}") from error
    try:
        client.check_ready(timeout=_PROBE_SECONDS)
    except (BackendUnavailable, DeadlineExceeded) as error:
        client.close()
        raise BackendUnavailable(f"No service answers at {target}: {error.detail}") from error
    return client
