"""Which addresses this machine alone can connect to."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether this machine alone can connect to a host, which is a number."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback
