"""Who may ask the admin process: no web page, and nobody without a key where one is demanded."""

import base64
import binascii
import re
from collections.abc import Iterable

from werkzeug.datastructures import Headers

from utils.access import Access, Caller
from utils.api_keys import MANAGE
from utils.errors import RequestRefused, UnsupportedContentType, shown

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:\d+)?")
_BASIC = "basic"
"""How browsers send what they have asked their reader for: any name, and the key as its password."""
_OWN = {"", "none", "same-origin"}
"""What `Sec-Fetch-Site` says of requests that no page of others has made; empty where it says nothing."""


class Guard:
    """Refuses requests by what is in their heads.

    A web page of any origin can have its reader's browser send requests to this machine. Those say so by an
    Origin or Sec-Fetch-Site. A page whose host's name is changed to mean this machine is of that Host.

    Args:
        hosts: Names of hosts, besides those of loopback, by which the process may be called.
        access: Checks the keys of callers; None where they need none.
    """

    def __init__(self, hosts: Iterable[str], access: Access | None) -> None:
        self._hosts = {*_LOOPBACK, *hosts}
        self._access = access

    def check_page(self, headers: Headers) -> None:
        """Refuse what a web page has a browser send.

        Raises:
            RequestRefused: It is such a request.
        """
        if "Origin" in headers:
            raise RequestRefused("Origin is there; accepted: requests that no web page makes", field="Origin")
        site = headers.get("Sec-Fetch-Site", "").strip().lower()
        if site not in _OWN:
            raise RequestRefused(
                f"Sec-Fetch-Site is {shown(site)!r}; accepted: requests that no other web page makes",
                field="Sec-Fetch-Site",
            )

    def check_host(self, headers: Headers) -> None:
        """Refuse a request to a name that may be somebody else's.

        Raises:
            RequestRefused: It is one.
        """
        named = headers.get("Host", "").strip().lower()
        host = _HOST.fullmatch(named)
        if host is None or host[1] not in self._hosts:
            raise RequestRefused(
                f"Host is {shown(named)!r}; accepted: this address, localhost, and the names of "
                "FACET_ADMIN_HOSTS",
                field="Host",
            )

    def check_content(self, content_type: str) -> None:
        """Refuse a change that a web page could have sent without having asked.

        Raises:
            UnsupportedContentType: Its content is not said to be JSON.
        """
        if content_type != "application/json":
            raise UnsupportedContentType(
                f"Content-Type is {shown(content_type)!r}; accepted of a change: application/json",
                field="Content-Type",
            )

    def admit(
        self, caller: Caller, authorization: str | None, *, looks: bool = False, also: str = ""
    ) -> None:
        """Let in who has a key for the management, where one is demanded.

        Args:
            caller: Is told of it.
            authorization: `Bearer` and the key.
            looks: Whether the request changes nothing. Then a browser may have sent the key, as the password
                of HTTP's Basic, which it keeps and sends unasked.
            also: Another scope than that of the management that does as well.

        Raises:
            KeyMissing, KeyUnknown, KeyLacksScope, KeysUnavailable, RateLimited: It is refused.
        """
        if self._access is not None:
            bearer = _of_browser(authorization) if looks else authorization
            self._access.admit(caller, bearer, MANAGE, also=also)


def _of_browser(authorization: str | None) -> str | None:
    """What a client would have sent in the place of HTTP's Basic."""
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    if scheme.lower() != _BASIC:
        return authorization
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return f"Bearer {decoded.partition(':')[2]}"
