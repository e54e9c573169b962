"""`make serve`: run the Procfile, and say when faces can be detected.

Ports are looked at first, because two processes that fail in the middle of each other's log lines are
a poor way to learn that one is taken.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from honcho.manager import Manager
from honcho.printer import Printer

from scripts import announce
from utils.settings import Address, InvalidSetting, Settings, variable

ROOT = Path(__file__).parent.parent
_ADDRESSES = ("http_address", "http_metrics_address", "grpc_address", "admin_address", "admin_grpc_address")
_STOPPED_BY_REQUEST = {128 + 2, 128 + 15}  # what the runner returns after SIGINT and SIGTERM


def main() -> int:
    """Run until a process ends or Ctrl-C; gives the exit status."""
    try:
        settings = Settings.from_environ(os.environ)
    except InvalidSetting as error:
        return _failed(str(error))
    for name in _ADDRESSES:
        address = getattr(settings, name)
        trouble = port_trouble(address) if isinstance(address, Address) else None
        if trouble:
            return _failed(f"{trouble} Stop what uses it, or set {variable(name)} to another address.")
    environ = dict(os.environ)
    if sys.stdout.isatty():
        environ.setdefault("FACET_LOG_FORMAT", "text")
    # Every line has a time of its own.
    runner = Manager(Printer(sys.stdout, time_format=""))
    for line in (ROOT / "Procfile").read_text().splitlines():
        name, _, command = line.partition(":")
        runner.add_process(name, command.strip(), env=environ, cwd=str(ROOT))
    announcer = subprocess.Popen([sys.executable, "-m", announce.__name__], cwd=ROOT)
    try:
        runner.loop()
    finally:
        announcer.terminate()
        announcer.wait()
    status: int = runner.returncode
    return 0 if status in _STOPPED_BY_REQUEST else status


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


def _failed(reason: str) -> int:
    print(f"make serve: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
