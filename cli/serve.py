"""`facet serve`: start the backend and the gateway, and say when faces can be detected.

Ports are looked at first, because two processes that fail in the middle of each other's log lines are
a poor way to learn that one is taken.
"""

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import click

from cli.failure import Failure
from utils.settings import Address, Settings, variable

_HOME = Path(__file__).parents[__name__.count(".")]
"""The folder from which this package is imported, in which the processes find all others."""
_ADDRESSES = ("http_address", "http_metrics_address", "grpc_address", "admin_address", "admin_grpc_address")
_STOPPED_BY_REQUEST = {128 + 2, 128 + 15}  # what the runner returns after SIGINT and SIGTERM


@click.command()
@click.pass_context
def serve(context: click.Context) -> None:
    """Start the backend and the gateway; Ctrl-C stops them.

    Their addresses, and all else, are settings of the environment.
    """
    from honcho.manager import Manager  # noqa: PLC0415 - nobody else needs it
    from honcho.printer import Printer  # noqa: PLC0415

    from cli import announce  # noqa: PLC0415

    _check_addresses(Settings.from_environ(os.environ))
    environ = dict(os.environ)
    if sys.stdout.isatty():
        environ.setdefault("FACET_LOG_FORMAT", "text")
    # Every line has a time of its own.
    runner = Manager(Printer(sys.stdout, time_format=""))
    for name, command in commands().items():
        runner.add_process(name, f"exec {shlex.join(command)}", env=environ, cwd=str(_HOME))
    announcer = subprocess.Popen([sys.executable, "-m", announce.__name__], cwd=_HOME)
    try:
        runner.loop()
    finally:
        announcer.terminate()
        announcer.wait()
    status: int = runner.returncode
    context.exit(0 if status in _STOPPED_BY_REQUEST else status)


def commands() -> dict[str, list[str]]:
    """What is run, by name: what the lines of the Procfile do, by this environment's Python."""
    return {
        "web": [sys.executable, "-m", "gateway"],
        "inference": [sys.executable, "-m", "inference_server"],
    }


def port_trouble(address: Address) -> str | None:
    """Why nothing could listen on an address now; None where something could."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            return f"{address} cannot be used: {error.strerror}."
    return None


def port_troubles(settings: Settings) -> list[str]:
    """Why the addresses of the settings cannot be used, and what helps; empty where they can be."""
    troubles = []
    for name in _ADDRESSES:
        address = getattr(settings, name)
        trouble = port_trouble(address) if isinstance(address, Address) else None
        if trouble:
            troubles.append(f"{trouble} Stop what uses it, or set {variable(name)} to another address.")
    return troubles


def _check_addresses(settings: Settings) -> None:
    for trouble in port_troubles(settings):
        raise Failure("ADDRESS_IN_USE", trouble)
