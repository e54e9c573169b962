"""`python -m utils.probe [gateway]`: whether Facet serves here, for a container's health check.

It ends with 0 where the backend at FACET_GRPC_ADDRESS serves, or the gateway at FACET_HTTP_ADDRESS is ready;
else with 1 and one line on standard error that says why. An address that stands for all of the machine's,
such as 0.0.0.0, is asked by way of this machine.
"""

import http.client
import os
import sys

from utils.errors import BackendUnavailable, FacetError
from utils.service_client import ServiceClient
from utils.settings import InvalidSetting, Settings
from utils.streams import open_standard_streams
from utils.tls import client_tls

_SECONDS = 2.0


def check_backend(settings: Settings) -> None:
    """Return when the backend serves, or raise a FacetError."""
    tls = client_tls(settings)
    with ServiceClient(str(settings.grpc_address), timeout=_SECONDS, tls=tls) as client:
        client.check_ready()


def check_gateway(settings: Settings) -> None:
    """Return when the gateway is ready, or raise an OSError, an HTTPException or a FacetError."""
    where = settings.http_address
    connection = http.client.HTTPConnection(where.host, where.port, timeout=_SECONDS)
    connection.request("GET", "/readyz")
    status = connection.getresponse().status
    connection.close()
    if status != http.client.OK:
        raise BackendUnavailable(f"The gateway answers /readyz with {status}.")


def main(arguments: list[str]) -> int:
    """Ask once; gives the exit status."""
    open_standard_streams()
    if arguments not in ([], ["gateway"]):
        sys.stderr.write("usage: python -m utils.probe [gateway]\n")
        return 2
    check = check_gateway if arguments else check_backend
    try:
        check(Settings.from_environ(os.environ))
    except (InvalidSetting, FacetError, OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
