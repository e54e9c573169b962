"""Who asks during the soak: the keys and the certificates of all callers, which change while they ask."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.credentials import Credentials
from tests.support.keys import KeyFile
from utils.api_keys import GATEWAY, MANAGE, METRICS, PREDICT

_ENDLESS = 100_000
"""Requests a second, and at once: a limit that nobody reaches, but which has each request counted."""


@dataclass(frozen=True)
class Account(Credentials):
    """What a caller shows, and how many requests were answered that came by its key.

    Attributes:
        name: Of the key.
    """

    name: str = ""
    _answered: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, protocol: str) -> None:
        """A request by this protocol has succeeded: HTTP or gRPC."""
        with self._lock:
            self._answered[protocol] += 1

    def answered(self, protocol: str) -> int:
        """How many have."""
        return self._answered[protocol]


class Identities:
    """All keys and certificates.

    Attributes:
        callers: Whose answers are compared and counted.
        visitors: Who leaves, sends slowly, or asks for what is refused.
        operators: Who changes models.
        monitoring: Who reads the metrics.
        gateway: Who passes requests on.
    """

    def __init__(self, folder: Path) -> None:
        self.keys = KeyFile(folder)
        self._authority = Authority(folder / "certificates")
        names = ("backend", "gateway", "client")
        self.server, self._gateway_pair, self._client = map(self._authority.issue, names)
        self.callers = self.add("callers", PREDICT, rate=_ENDLESS, burst=_ENDLESS)
        self.visitors = self.add("visitors", PREDICT)
        self.operators = self.add("operators", MANAGE)
        self.monitoring = self.add("monitoring", METRICS)
        self._gateway_key = folder / "gateway.key"
        self.show_by_gateway(self.add("gateway", GATEWAY))

    def add(self, name: str, scope: str, *, rate: float | None = None, burst: int | None = None) -> Account:
        """Make a key, which counts within a second."""
        key = self.keys.add(name, scope, rate=rate, burst=burst)
        return Account(key, self._authority.cert, self._client, name)

    def show_by_gateway(self, account: Account) -> None:
        """Give the gateway its key, or another one."""
        self.gateway, new = account, self._gateway_key.with_suffix(".new")
        new.touch(0o600)
        new.write_text(account.key)
        new.replace(self._gateway_key)

    def renew(self) -> None:
        """Replace all certificates but that of the authority."""
        for pair in (self.server, self._gateway_pair, self._client):
            pair.replace(self._authority.issue("renewed", common_name=pair.cert.stem))

    def backend_settings(self) -> dict[str, str]:
        """Those of the backend: mutual TLS, and keys for everything."""
        return {
            **self.keys.environ,
            "FACET_TLS_CERT_FILE": str(self.server.cert),
            "FACET_TLS_KEY_FILE": str(self.server.key),
            "FACET_TLS_CLIENT_CA_FILE": str(self._authority.cert),
        }

    def gateway_settings(self) -> dict[str, str]:
        """Those of the gateway."""
        return {
            **self.keys.environ,
            "FACET_BACKEND_KEY_FILE": str(self._gateway_key),
            "FACET_BACKEND_TLS_CA_FILE": str(self._authority.cert),
            "FACET_BACKEND_TLS_CERT_FILE": str(self._gateway_pair.cert),
            "FACET_BACKEND_TLS_KEY_FILE": str(self._gateway_pair.key),
        }
