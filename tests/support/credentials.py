"""What a client shows a server, and whose certificates it accepts."""

import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import grpc

from tests.support.certificates import Pair
from tests.support.keys import bearer
from utils.credentials import channel_credentials
from utils.tls import ClientTls


@dataclass(frozen=True)
class Credentials:
    """Of one client.

    Attributes:
        key: An API key; empty for none.
        ca: The file of the authorities whose certificates it accepts; None where it speaks no TLS.
        pair: The files of its own certificate; None where it has none.
    """

    key: str = ""
    ca: Path | None = None
    pair: Pair | None = None

    @cached_property
    def tls(self) -> ClientTls | None:
        """How our clients speak TLS."""
        if self.ca is None:
            return None
        cert, key = (None, None) if self.pair is None else (self.pair.cert, self.pair.key)
        return ClientTls(self.ca, cert_file=cert, key_file=key)

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of a request over HTTP."""
        return bearer(self.key) if self.key else {}

    def channel(self, address: str) -> grpc.Channel:
        """A channel with a connection of its own, which shows the key with each call."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        if self.tls is None:
            assert not self.key, "gRPC shows a key over TLS alone"
            return grpc.insecure_channel(address, options)
        credentials = channel_credentials(self.tls.files.current())
        if self.key:
            shown = grpc.access_token_call_credentials(self.key)
            credentials = grpc.composite_channel_credentials(credentials, shown)
        return grpc.secure_channel(address, credentials, options)

    def ssl_context(self) -> ssl.SSLContext:
        """For bare connections to a gRPC server."""
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols(["h2"])
        if self.pair is not None:
            context.load_cert_chain(self.pair.cert, self.pair.key)
        return context


NOTHING = Credentials()
"""Of a client that shows nothing and speaks no TLS."""
