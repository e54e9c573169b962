"""The files of TLS, in PEM: checked when a process starts, and read again whenever one of them changes.

Keys are for RSA or ECDSA: gRPC takes no part in handshakes with others. This module imports the standard
library alone, and its `ssl` only where there is TLS.
"""

import base64
import logging
import re
import stat
import threading
from pathlib import Path
from typing import NamedTuple

from utils.logs import fields
from utils.settings import InvalidSetting, Settings

logger = logging.getLogger(__name__)

Paths = tuple[Path | None, Path | None, Path | None]
"""Of a certificate, its private key, and the authorities that the other end's certificate must be of."""
Names = tuple[str, str, str]
"""What these three are called in messages."""


_EDWARDS_CURVES = bytes.fromhex("06032b65")
"""How their object identifiers begin in DER (RFC 8410)."""
_ALGORITHM_ENDS = 16
"""That of a key for them is within so many bytes of its DER."""


class TlsUnusable(InvalidSetting):
    """The files cannot be used; the message says which and why."""


class Pem(NamedTuple):
    """What the files held when they were read; empty where there is no such file."""

    cert: bytes
    key: bytes
    ca: bytes


class TlsFiles:
    """The files of one end. Threads may share it.

    What they held last counts for as long as they cannot be used.

    Args:
        paths: Where they are; None for those that there are not.
        names: What they are called in messages.
        last: What counts until they can be used.
    """

    def __init__(self, paths: Paths, names: Names, last: Pem | None = None) -> None:
        self._paths = paths
        self._names = names
        self._lock = threading.Lock()
        self._pem = last
        self._seen: object = None
        self._trouble = ""

    def check(self) -> None:
        """Look whether they can be used now, and warn of a key that is no secret.

        Raises:
            TlsUnusable: They cannot.
        """
        self._look()
        if self._trouble:
            raise TlsUnusable(self._trouble)
        _, key, _ = self._paths
        if key is not None and key.stat().st_mode & stat.S_IRWXO:
            told = fields(path=str(key), setting=self._names[1])
            logger.warning("private key readable by others", extra=told)

    def current(self) -> Pem:
        """What is to be used: the same object for as long as nothing has changed.

        Raises:
            TlsUnusable: They cannot be used, and never could.
        """
        pem = self._look()
        if pem is None:
            raise TlsUnusable(self._trouble)
        return pem

    def _look(self) -> Pem | None:
        if self._state() != self._seen:
            with self._lock:
                self._read()
        return self._pem

    def _state(self) -> tuple[object, ...]:
        return tuple(_state_of(path) for path in self._paths)

    def _read(self) -> None:
        """Read them where they have changed; what is wrong with them is logged once."""
        state = self._state()
        if state == self._seen:  # another thread has
            return
        try:
            _check(self._paths, self._names)
            pem = Pem(*(b"" if path is None else path.read_bytes() for path in self._paths))
            if self._state() != state:
                raise TlsUnusable("They were replaced while they were read")
        except (TlsUnusable, OSError) as error:
            self._trouble = str(error)
            logger.error("TLS files not usable", extra=fields(reason=self._trouble))
        else:
            self._trouble = ""
            if pem != self._pem:
                self._pem = pem
            if self._seen is not None:
                logger.info("TLS files read again", extra=fields(paths=[*filter(None, self._paths)]))
        self._seen = state


class ClientTls:
    """How a client speaks TLS.

    Args:
        ca_file: The certificates of the authorities whose certificates it accepts.
        cert_file: What it shows a server that demands a certificate.
        key_file: Its private key.
        name: That the server's certificate must have. Empty: the host of the client's target.
        names: What cert_file, key_file and ca_file are called in messages.

    Raises:
        TlsUnusable: There is a certificate without a key, or a key without a certificate.
    """

    def __init__(
        self,
        ca_file: Path,
        *,
        cert_file: Path | None = None,
        key_file: Path | None = None,
        name: str = "",
        names: Names = ("cert_file", "key_file", "ca_file"),
    ) -> None:
        if (cert_file is None) != (key_file is None):
            raise TlsUnusable(f"One of {names[0]} and {names[1]} is not set; accepted: both, or neither")
        self.files = TlsFiles((cert_file, key_file, ca_file), names)
        self.name = name


def server_tls(settings: Settings, last: Pem | None = None) -> TlsFiles | None:
    """The files of the backend's gRPC endpoints; None where they speak no TLS. `last` as of TlsFiles."""
    if settings.tls_cert_file is None:
        return None
    names = ("FACET_TLS_CERT_FILE", "FACET_TLS_KEY_FILE", "FACET_TLS_CLIENT_CA_FILE")
    paths = (settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file)
    return TlsFiles(paths, names, last)


def client_tls(settings: Settings) -> ClientTls | None:
    """How the backend is called; None where that is without TLS."""
    if settings.backend_tls_ca_file is None:
        return None
    return ClientTls(
        settings.backend_tls_ca_file,
        cert_file=settings.backend_tls_cert_file,
        key_file=settings.backend_tls_key_file,
        name=settings.backend_tls_name,
        names=("FACET_BACKEND_TLS_CERT_FILE", "FACET_BACKEND_TLS_KEY_FILE", "FACET_BACKEND_TLS_CA_FILE"),
    )


def _state_of(path: Path | None) -> tuple[int, ...] | None:
    """What tells one state of a file from another; None where it cannot be reached."""
    if path is None:
        return None
    try:
        about = path.stat()
    except OSError:
        return None
    return (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def _check(paths: Paths, names: Names) -> None:
    """Have OpenSSL read them, which says what is wrong.

    Raises:
        TlsUnusable: Something is.
    """
    import ssl  # noqa: PLC0415 - most processes have no use for it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert, key, ca = paths
    for path, name in ((cert, names[0]), (ca, names[2])):
        if path is None:
            continue
        try:
            context.load_verify_locations(path)
        except ssl.SSLError as error:
            raise TlsUnusable(f"{name} is {path}, which holds no certificate in PEM") from error
        except OSError as error:
            raise _unreadable(name, path, error) from error
    if cert is None or key is None:
        return
    try:
        context.load_cert_chain(cert, key, password=_refuse)
    except ssl.SSLError as error:
        others = error.reason == "KEY_VALUES_MISMATCH"
        why = f"is not that of the certificate of {names[0]}" if others else "holds no private key in PEM"
        raise TlsUnusable(f"{names[1]} is {key}, which {why}") from error
    except ValueError as error:
        raise TlsUnusable(f"{names[1]} is {key}; accepted: a key without a passphrase") from error
    except OSError as error:
        raise _unreadable(names[1], key, error) from error
    if _is_of_edwards_curve(key.read_bytes()):
        raise TlsUnusable(f"{names[1]} is {key}; accepted: a key for RSA or ECDSA, as gRPC has it")


def _is_of_edwards_curve(pem: bytes) -> bool:
    """Whether a private key, which OpenSSL can read, is for Ed25519 or the like."""
    found = re.search(rb"-----BEGIN PRIVATE KEY-----(.+?)-----END", pem, re.DOTALL)
    return found is not None and _EDWARDS_CURVES in base64.b64decode(found[1])[:_ALGORITHM_ENDS]


def _refuse() -> str:
    """Give no passphrase, for which OpenSSL would ask at the terminal."""
    raise ValueError


def _unreadable(name: str, path: Path, error: OSError) -> TlsUnusable:
    return TlsUnusable(f"{name} is {path}, which cannot be read: {error.strerror or error}")
