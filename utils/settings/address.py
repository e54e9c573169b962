"""TCP addresses."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address, `host:port`; port 0 lets the kernel choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as it is read, an IPv6 host in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `host:port`, where an IPv6 host stands in brackets.

    Raises:
        ValueError: The text is not an address.
    """
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([^\s:/\[\]]+)):(\d{1,5})", text)
    if match is None or int(match[3]) > 65535:  # noqa: PLR2004 - the largest TCP port
        raise ValueError(f"no address: {text}")
    return Address(match[1] or match[2], int(match[3]))
