"""Who may ask the admin process: no web page, and nobody without the token where there is one."""

import re
from collections.abc import Iterable

from werkzeug.datastructures import Headers

from utils.errors import RequestRefused, Unauthenticated, UnsupportedContentType, shown
from utils.token_file import TokenFile

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:\d+)?")
_BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.IGNORECASE)
_OWN = {"", "none", "same-origin"}
"""What `Sec-Fetch-Site` says of requests that no page of others has made; empty where it says nothing."""


class Guard:
    """Refuses requests by what is in their heads.

    A web page of any origin can have its reader's browser send requests to this machine. Those say so by an
    Origin or Sec-Fetch-Site. A page whose host's name is changed to mean this machine is of that Host.

    Args:
        hosts: Names of hosts, besides those of loopback, by which the process may be called.
        token: What callers must have; None where they need none.
    """

    def __init__(self, hosts: Iterable[str], token: TokenFile | None) -> None:
        self._hosts = {*_LOOPBACK, *hosts}
        self._token = token

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

    def check_token(self, authorization: str | None) -> None:
        """Refuse who does not have the token, where there is one.

        Args:
            authorization: `Bearer` and the token.

        Raises:
            Unauthenticated: It is not that.
        """
        if self._token is None:
            return
        bearer = _BEARER.fullmatch((authorization or "").strip())
        if bearer is None or not self._token.accepts(bearer[1]):
            raise Unauthenticated(
                "The request has no token, or another one; accepted: Authorization with Bearer and what "
                "FACET_ADMIN_TOKEN_FILE holds",
                field="Authorization",
            )
