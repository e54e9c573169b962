"""TLS as gRPC takes it: the credentials of servers and channels, and who is at the other end."""

from typing import Any

import grpc

from utils.tls import Pem, TlsFiles

_LONGEST_NAME = 200


def listen(server: grpc.Server | grpc.aio.Server, address: str, files: TlsFiles | None) -> int:
    """Have a server listen at an address; gives the port.

    Args:
        server: Of either kind.
        address: host:port.
        files: Of its TLS, looked at whenever somebody connects; None for none. Where they name authorities,
            clients must show a certificate.

    Raises:
        RuntimeError: It cannot listen there.
        TlsUnusable: The files cannot be used.
    """
    if files is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, _server_credentials(files))


def _server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    given = files.current()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        pem = files.current()
        if pem is given:
            return None
        given = pem
        return _configuration(pem)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        fetch,  # type: ignore[arg-type] # None is no change, as grpc's documentation has it
        require_client_authentication=bool(given.ca),
    )


def channel_credentials(pem: Pem) -> grpc.ChannelCredentials:
    """Those of a channel."""
    return grpc.ssl_channel_credentials(pem.ca, pem.key or None, pem.cert or None)


def peer_name(context: Any) -> str | None:  # noqa: ANN401 - a ServicerContext of either kind
    """The common name of the certificate that a client has shown; None of one that has shown none."""
    names = [*context.auth_context().get("x509_common_name", ())]
    return names[0].decode(errors="replace")[:_LONGEST_NAME] if names else None


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.cert)], pem.ca or None)
