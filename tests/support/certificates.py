"""Certificates for tests, made by the openssl program: an authority, and what it issues."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import tool

_ECDSA = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
_HOSTS = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
_CONFIGURATION = """
[ca]
default_ca = own
[own]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
"""


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its private key."""

    cert: Path
    key: Path

    def replace(self, other: "Pair") -> None:
        """Have what another pair's files hold, first the certificate, each file as a whole."""
        for own, others in ((self.cert, other.cert), (self.key, other.key)):
            made = own.with_name(f"{own.name}.new")
            made.write_bytes(others.read_bytes())
            made.replace(own)

    @property
    def serial(self) -> str:
        """The certificate's serial number."""
        return _openssl("x509", "-in", self.cert, "-noout", "-serial")


class Authority:
    """An authority whose files lie in this folder.

    Attributes:
        cert: The file of its certificate.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.cert, self._key = folder / "ca.pem", folder / "ca.key"
        out: list[str | Path] = ["-keyout", self._key, "-out", self.cert]
        _openssl(
            "req", "-x509", "-newkey", *_ECDSA, "-nodes", *out, "-subj", "/CN=Facet's tests", "-days", "2"
        )

    def issue(
        self, name: str, *, common_name: str = "", expired: bool = False, key: Sequence[str] = _ECDSA
    ) -> Pair:
        """A certificate for this machine's own names, with its key in files of this name."""
        new_key = ["-newkey", *key, "-nodes"]
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        subject = ["-subj", f"/CN={common_name or name}", "-addext", _HOSTS]
        out: list[str | Path] = ["-keyout", pair.key]
        signer: list[str | Path] = ["-CA", self.cert, "-CAkey", self._key, "-days", "2"]
        if not expired:
            _openssl("req", "-x509", *new_key, *subject, *out, "-out", pair.cert, *signer)
        else:
            request, configuration = self._folder / "request", self._folder / "configuration"
            _openssl("req", *new_key, *subject, *out, "-out", request)
            configuration.write_text(_CONFIGURATION.format(folder=self._folder))
            (self._folder / "index").touch()
            times = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
            files: list[str | Path] = ["-config", configuration, "-cert", self.cert, "-keyfile", self._key]
            _openssl("ca", "-batch", "-notext", *files, *times, "-in", request, "-out", pair.cert)
        pair.key.chmod(0o600)
        return pair


def encrypted(pair: Pair) -> Path:
    """The pair's key in a file that has a passphrase."""
    made = pair.key.with_suffix(".encrypted")
    _openssl("pkey", "-in", pair.key, "-aes128", "-passout", "pass:secret", "-out", made)
    return made


def _openssl(*arguments: str | Path) -> str:
    command = [tool("openssl", "openssl"), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
