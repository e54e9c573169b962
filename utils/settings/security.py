"""Who may call: keys, TLS, and the origins of web pages."""

from dataclasses import dataclass
from pathlib import Path

from utils.settings.kinds import (
    BY_BACKEND,
    BY_BOTH,
    BY_GATEWAY,
    FILE,
    HOST_NAME,
    ORIGINS,
    PATTERNS,
    SWITCH,
    setting,
    some_of,
)

DEMANDED_SCOPES = ("predict", "manage")
"""What FACET_API_KEY_SCOPES may name."""


@dataclass(frozen=True, kw_only=True)
class SecuritySettings:
    """Who may call: keys, TLS, and the origins of web pages."""

    api_keys_file: Path | None = setting(
        FILE,
        BY_BOTH,
        "File of the keys that callers must have, as `facet keys` makes it; what changes in it counts within "
        "a second. Only its owner, and a group, may be able to use it.",
        shown="none: no key is needed",
    )
    api_key_scopes: tuple[str, ...] = setting(
        some_of(*DEMANDED_SCOPES),
        BY_BOTH,
        "What the keys of FACET_API_KEYS_FILE are needed for. With manage alone, whoever can connect may "
        "call models.",
        default=DEMANDED_SCOPES,
        shown="all",
    )
    backend_key_file: Path | None = setting(
        FILE,
        BY_GATEWAY,
        "File of the key by which the gateway calls a backend that demands keys: one of the scope gateway. "
        "Read again whenever it changes. Only its owner, and a group, may be able to read it.",
        shown="none",
    )
    tls_cert_file: Path | None = setting(
        FILE,
        BY_BACKEND,
        "Certificate that the backend shows at all of its gRPC addresses, the admin process's too, and the "
        "certificates between it and its authority, in PEM; read again whenever it changes. With it they "
        "speak TLS alone.",
        shown="none: no TLS",
    )
    tls_key_file: Path | None = setting(
        FILE,
        BY_BACKEND,
        "Private key of FACET_TLS_CERT_FILE, in PEM, RSA or ECDSA, without a passphrase.",
        shown="none",
    )
    tls_client_ca_file: Path | None = setting(
        FILE,
        BY_BACKEND,
        "Certificates, in PEM, of the authorities of which gRPC clients must show one (mutual TLS).",
        shown="none: clients show none",
    )
    backend_tls_ca_file: Path | None = setting(
        FILE,
        BY_GATEWAY,
        "Certificates, in PEM, of the authorities whose certificates the gateway accepts of the backend; "
        "read again whenever it changes. With it the gateway speaks TLS to the backend.",
        shown="none: no TLS",
    )
    backend_tls_cert_file: Path | None = setting(
        FILE,
        BY_GATEWAY,
        "Certificate that the gateway shows the backend, in PEM, where that demands one.",
        shown="none",
    )
    backend_tls_key_file: Path | None = setting(
        FILE,
        BY_GATEWAY,
        "Private key of FACET_BACKEND_TLS_CERT_FILE, in PEM, without a passphrase.",
        shown="none",
    )
    backend_tls_name: str = setting(
        HOST_NAME,
        BY_GATEWAY,
        "Name that the backend's certificate must have.",
        default="",
        shown="the host of FACET_BACKEND",
    )
    allowed_origins: tuple[str, ...] = setting(
        ORIGINS,
        BY_GATEWAY,
        "Origins of web pages that may read what the gateway answers (CORS).",
        default=(),
        shown="none",
    )
    torchserve_key_file: Path | None = setting(
        FILE,
        BY_BOTH,
        "File that the backend's start fills with new keys; where it is set, calls by TorchServe's protocols "
        "must bring one as their token, and need no key of FACET_API_KEYS_FILE.",
        shown="off: no tokens",
    )
    torchserve_allowed_urls: tuple[str, ...] = setting(
        PATTERNS,
        BY_BACKEND,
        "What a URL may be by which a client of TorchServe registers a model of the store.",
        default=(r"file://.*", r"http(s)?://.*"),
        shown="file://.*,http(s)?://.*",
    )
    model_api: bool = setting(
        SWITCH,
        BY_BACKEND,
        "Whether callers may load and unload models by protocols whose servers let them.",
        default=False,
        shown="off",
    )
