"""Every setting of Facet: one frozen object, built from the environment and checked as a whole.

Each setting is the field of the same name, `FACET_` before it and in capitals. `docs/settings.md` is made
from the fields below. This module imports the standard library alone, and reads nothing until it is asked.
"""

import difflib
import os
import pwd
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from utils.cpus import usable_cpus

PREFIX = "FACET_"

ENGINES = ("auto", "native", "onnx", "tensorflow")
"""What FACET_ENGINE may be."""
INSTRUCTION_SETS = ("auto", "avx512", "avx2", "base")
"""What FACET_NATIVE_ISA may be; best first after auto."""

IMAGE_FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heic")
"""What FACET_IMAGE_FORMATS may name."""

DEMANDED_SCOPES = ("predict", "manage")
"""What FACET_API_KEY_SCOPES may name."""

CLIENT_KEY = "FACET_API_KEY"
"""The variable of a client's own key. It is no setting: neither the gateway nor the backend is to have it."""

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a model may be called."""

UNIX = "unix:"
"""Before the path of a socket, where a setting may be an address, too."""

_HOST = re.compile(r"[a-z0-9_.-]+|\[[0-9a-f:.]+\]")
# As browsers send it: in lower case, without the scheme's own port.
_ORIGIN = re.compile(
    rf"(?!http://.*:80$|https://.*:443$)[a-z][a-z0-9+.-]*://(?:{_HOST.pattern})(?::\d{{1,5}})?"
)

_HTTP_URL = re.compile(rf"https?://(?:{_HOST.pattern})(?::\d{{1,5}})?(?:/[A-Za-z0-9._~/-]*)?", re.IGNORECASE)

# What Kubernetes puts into the environment of every pod for a Service called facet or facet-...:
# never a setting of ours, so never worth a warning.
_SERVICE_VARIABLE = re.compile(r"FACET_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)\w*)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


class InvalidSetting(ValueError):
    """A setting cannot be used; the message is the one line that the start ends with."""


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


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a setting may be.

    Attributes:
        accepted: What is accepted, in words: those of the error message and of docs/settings.md.
        parse: Reads a text, or raises a ValueError.
        empty_counts: Whether an empty text is a value, and not the same as none.
    """

    accepted: str
    parse: Callable[[str], Any]
    empty_counts: bool = False


def _whole(low: int, high: int) -> _Kind:
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return _Kind(f"a whole number from {low} to {high}", parse)


def _seconds(low: float, high: float) -> _Kind:
    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return _Kind(f"a number of seconds from {low:g} to {high:g}", parse)


def _one_of(*names: str) -> _Kind:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return _Kind(f"one of {', '.join(names)}", parse)


def _some_of(*names: str) -> _Kind:
    def parse(text: str) -> tuple[str, ...]:
        chosen = {name.strip().lower() for name in text.split(",")}
        if chosen == {"all"}:
            return names
        if not chosen.issubset(names):
            raise ValueError(text)
        return tuple(name for name in names if name in chosen)

    return _Kind(f"all, or some of {', '.join(names)} with commas between them", parse)


def _ratio(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def _url(text: str) -> str:
    if not _HTTP_URL.fullmatch(text):
        raise ValueError(text)
    return text.rstrip("/")


def _target(text: str) -> str:
    """Accept what a gRPC channel can dial."""
    if not text or any(character.isspace() for character in text):
        raise ValueError(text)
    return text


def _folder(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # ~ of a user without a home
        raise ValueError(text) from error
    if not path.is_absolute():
        raise ValueError(text)
    return path


def _listener(text: str) -> Address | Path | None:
    if not text:
        return None
    return _folder(text.removeprefix(UNIX)) if text.startswith(UNIX) else parse_address(text)


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.strip().lower() for part in text.split(","))
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError(text)
    return hosts


def _host(text: str) -> str:
    if not _HOST.fullmatch(text.lower()):
        raise ValueError(text)
    return text.lower()


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip() for part in text.split(","))
    if origins != ("*",) and not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError(text)
    return origins


def _models(text: str) -> tuple[str, ...]:
    models = tuple(part.strip() for part in text.split(","))
    if not all(models):
        raise ValueError(text)
    return models


def _switch(text: str) -> bool:
    if text not in {"on", "off"}:
        raise ValueError(text)
    return text == "on"


def _patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(part.strip() for part in text.split(","))
    try:
        for pattern in patterns:
            re.compile(pattern)
    except re.error as error:
        raise ValueError(text) from error
    return patterns


def _name(text: str) -> str:
    if not MODEL_NAME.fullmatch(text):
        raise ValueError(text)
    return text


_ADDRESS = _Kind("host:port, such as 127.0.0.1:8000 or [::1]:8000", parse_address)
_LISTENER = _Kind(
    "host:port, `unix:` and the absolute path of a socket, or nothing at all, which is none",
    _listener,
    empty_counts=True,
)
_OPTIONAL_ADDRESS = _Kind(
    "host:port, or nothing at all, which is none",
    lambda text: parse_address(text) if text else None,
    empty_counts=True,
)
_HOSTS = _Kind("names of hosts with commas between them, without ports", _hosts)
_HOST_NAME = _Kind("the name of a host, or its number", _host)
_ORIGINS = _Kind(
    "origins with commas between them, such as https://example.org, without a path or the scheme's own port; "
    "or `*`, which is all",
    _origins,
)
_RATIO = _Kind("a number from 0 to 1", _ratio)
_URL = _Kind("a URL of http or https, such as http://127.0.0.1:4318, without a query", _url)
_TARGET = _Kind("the backend's host:port, or another gRPC target", _target)
_FOLDER = _Kind("the absolute path of a folder", _folder)
_MODELS = _Kind("models with commas between them, each NAME, NAME/VERSION or NAME=SOURCE", _models)
_FILE = _Kind("the absolute path of a file", _folder)
_SWITCH = _Kind("on or off", _switch)
_PATTERNS = _Kind("regular expressions with commas between them", _patterns)
_NAME = _Kind("the name of a model: 1 to 64 letters, digits, `.`, `_` and `-`, the first no mark", _name)

_BY_GATEWAY = "gateway"
_BY_BACKEND = "backend"
_BY_BOTH = "both"


def _home_folder(environ: Mapping[str, str], variable: str, default: str) -> Path | None:
    """Facet's own folder among a user's of one kind, by the XDG base directory specification.

    None where the user has no home, as in a container that is told to run as any number.
    """
    base, home = Path(environ.get(variable, "")), Path(environ.get("HOME", ""))
    if base.is_absolute():
        return base / "facet"
    if not home.is_absolute():
        try:
            home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        except KeyError:
            return None
    return home / default / "facet"


def _cache_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Where converted models are kept.

    Raises:
        InvalidSetting: There is no such place.
    """
    folder = _home_folder(environ, "XDG_CACHE_HOME", ".cache")
    if folder is None:
        raise InvalidSetting(
            f"FACET_CACHE_DIR is not set, and user {os.getuid()} has no home; accepted: {_FOLDER.accepted}"
        )
    return folder


def _model_store(environ: Mapping[str, str] = os.environ) -> Path | None:
    data = _home_folder(environ, "XDG_DATA_HOME", ".local/share")
    return None if data is None else data / "models"


def _state_home(environ: Mapping[str, str] = os.environ) -> Path | None:
    return _home_folder(environ, "XDG_STATE_HOME", ".local/state")


def _log_format() -> str:
    return "text" if sys.stderr.isatty() else "json"


def _setting(
    kind: _Kind,
    read_by: str,
    doc: str,
    *,
    default: Any = None,  # noqa: ANN401 - as dataclasses.field
    factory: Callable[[], Any] | None = None,
    shown: str | None = None,
) -> Any:  # noqa: ANN401 - as dataclasses.field
    metadata = {
        "parse": kind.parse,
        "empty_counts": kind.empty_counts,
        "accepted": kind.accepted,
        "read_by": read_by,
        "doc": doc,
        "default": shown or str(default),
    }
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator decides. Build it by `Settings.from_environ(os.environ)`."""

    http_address: Address = _setting(
        _ADDRESS,
        _BY_GATEWAY,
        "Where the HTTP gateway listens.",
        default=Address("127.0.0.1", 8000),
    )
    http_metrics_address: Address | None = _setting(
        _OPTIONAL_ADDRESS,
        _BY_GATEWAY,
        "Where the gateway tells its metrics; another address than a loopback one needs "
        "FACET_API_KEYS_FILE. Empty, it tells none.",
        default=Address("127.0.0.1", 8003),
    )
    grpc_address: Address = _setting(
        _ADDRESS,
        _BY_BACKEND,
        "Where the backend's workers listen, all on this one port. gRPC takes 0.0.0.0 for [::], all "
        "addresses of IPv4 and IPv6, where the machine has IPv6.",
        default=Address("127.0.0.1", 50051),
    )
    admin_address: Address | Path | None = _setting(
        _LISTENER,
        _BY_BACKEND,
        "Where the backend's admin process listens, for operators; another address than a loopback one needs "
        "FACET_API_KEYS_FILE. Empty, there is no such process.",
        default=Address("127.0.0.1", 8002),
    )
    admin_grpc_address: Address | None = _setting(
        _ADDRESS,
        _BY_BACKEND,
        "Where the admin process listens for gRPC.",
        shown="none",
    )
    admin_hosts: tuple[str, ...] = _setting(
        _HOSTS,
        _BY_BOTH,
        "Names of hosts by which the admin process may be called, and the gateway for its metrics, besides "
        "their addresses and those of loopback.",
        default=(),
        shown="none",
    )
    backend: str = _setting(
        _TARGET,
        _BY_GATEWAY,
        "The gRPC target that the gateway calls.",
        default="",
        shown="the value of FACET_GRPC_ADDRESS",
    )
    backend_key_file: Path | None = _setting(
        _FILE,
        _BY_GATEWAY,
        "File of the key by which the gateway calls a backend that demands keys: one of the scope gateway. "
        "Read again whenever it changes. Only its owner, and a group, may be able to read it.",
        shown="none",
    )
    api_keys_file: Path | None = _setting(
        _FILE,
        _BY_BOTH,
        "File of the keys that callers must have, as `facet keys` makes it; what changes in it counts within "
        "a second. Only its owner, and a group, may be able to use it.",
        shown="none: no key is needed",
    )
    api_key_scopes: tuple[str, ...] = _setting(
        _some_of(*DEMANDED_SCOPES),
        _BY_BOTH,
        "What the keys of FACET_API_KEYS_FILE are needed for. With manage alone, whoever can connect may "
        "call models.",
        default=DEMANDED_SCOPES,
        shown="all",
    )
    tls_cert_file: Path | None = _setting(
        _FILE,
        _BY_BACKEND,
        "Certificate that the backend shows at all of its gRPC addresses, the admin process's too, and the "
        "certificates between it and its authority, in PEM; read again whenever it changes. With it they "
        "speak TLS alone.",
        shown="none: no TLS",
    )
    tls_key_file: Path | None = _setting(
        _FILE,
        _BY_BACKEND,
        "Private key of FACET_TLS_CERT_FILE, in PEM, RSA or ECDSA, without a passphrase.",
        shown="none",
    )
    tls_client_ca_file: Path | None = _setting(
        _FILE,
        _BY_BACKEND,
        "Certificates, in PEM, of the authorities of which gRPC clients must show one (mutual TLS).",
        shown="none: clients show none",
    )
    backend_tls_ca_file: Path | None = _setting(
        _FILE,
        _BY_GATEWAY,
        "Certificates, in PEM, of the authorities whose certificates the gateway accepts of the backend; "
        "read again whenever it changes. With it the gateway speaks TLS to the backend.",
        shown="none: no TLS",
    )
    backend_tls_cert_file: Path | None = _setting(
        _FILE,
        _BY_GATEWAY,
        "Certificate that the gateway shows the backend, in PEM, where that demands one.",
        shown="none",
    )
    backend_tls_key_file: Path | None = _setting(
        _FILE,
        _BY_GATEWAY,
        "Private key of FACET_BACKEND_TLS_CERT_FILE, in PEM, without a passphrase.",
        shown="none",
    )
    backend_tls_name: str = _setting(
        _HOST_NAME,
        _BY_GATEWAY,
        "Name that the backend's certificate must have.",
        default="",
        shown="the host of FACET_BACKEND",
    )
    workers: int = _setting(
        _whole(1, 1024),
        _BY_BACKEND,
        "Worker processes of the backend, each with one detector on one CPU.",
        factory=usable_cpus,
        shown="the CPUs that the process may use",
    )
    http_workers: int = _setting(_whole(1, 1024), _BY_GATEWAY, "Processes of the gateway.", default=2)
    http_threads: int = _setting(
        _whole(9, 4096),
        _BY_GATEWAY,
        "Threads of each gateway process; 8 of them are kept for requests other than those for faces and "
        "models.",
        default=64,
    )
    keepalive_seconds: float = _setting(
        _seconds(0.1, 3600),
        _BY_GATEWAY,
        "Time that a connection of the gateway may be idle between two requests; above the idle time of the "
        "load balancer, where there is one.",
        default=75.0,
        shown="75",
    )
    body_pause_seconds: float = _setting(
        _seconds(0.1, 3600),
        _BY_GATEWAY,
        "Time without a byte of a request's body after which no more of it is waited for.",
        default=10.0,
        shown="10",
    )
    body_seconds: float = _setting(
        _seconds(0.1, 86400),
        _BY_GATEWAY,
        "Time that a body may take in all where its request names no time of its own.",
        default=60.0,
        shown="60",
    )
    body_budget_bytes: int = _setting(
        _whole(1024, 10**13),
        _BY_GATEWAY,
        "Bytes of bodies that each gateway process may hold at once.",
        default=256 * 1024**2,
        shown="268435456 (256 MiB)",
    )
    max_batch_items: int = _setting(
        _whole(1, 10_000), _BY_GATEWAY, "Most files of a `/predict/batch`.", default=100
    )
    max_batch_bytes: int = _setting(
        _whole(1024, 10**13),
        _BY_GATEWAY,
        "Largest body of a `/predict/batch`, in bytes; each file may have FACET_MAX_IMAGE_BYTES.",
        default=256 * 1024**2,
        shown="268435456 (256 MiB)",
    )
    allowed_origins: tuple[str, ...] = _setting(
        _ORIGINS,
        _BY_GATEWAY,
        "Origins of web pages that may read what the gateway answers (CORS).",
        default=(),
        shown="none",
    )
    engine: str = _setting(
        _one_of(*ENGINES),
        _BY_BACKEND,
        "What computes the networks. auto takes the fastest that this machine can run, and never tensorflow.",
        default="auto",
    )
    native_isa: str = _setting(
        _one_of(*INSTRUCTION_SETS),
        _BY_BACKEND,
        "Instruction set of the native engine; one that the CPU cannot run stops the start.",
        default="auto",
    )
    timeout_seconds: float = _setting(
        _seconds(0.01, 3600),
        _BY_BOTH,
        "Time that a request has when it does not say; over HTTP counted from the end of its body.",
        default=5.0,
        shown="5",
    )
    max_timeout_seconds: float = _setting(
        _seconds(0.01, 3600),
        _BY_BOTH,
        "Longest time that a request may ask for; a longer one is cut to it.",
        default=60.0,
        shown="60",
    )
    max_image_bytes: int = _setting(
        _whole(1024, 256 * 1024**2),
        _BY_BOTH,
        "Largest encoded image, in bytes.",
        default=10 * 1024**2,
        shown="10485760 (10 MiB)",
    )
    max_image_pixels: int = _setting(
        _whole(1024, 10**9),
        _BY_BACKEND,
        "Largest image, in pixels; also the largest total area of its pyramid.",
        default=25_000_000,
    )
    image_formats: tuple[str, ...] = _setting(
        _some_of(*IMAGE_FORMATS),
        _BY_BACKEND,
        "Formats of images that are accepted; others are refused by their first bytes.",
        default=IMAGE_FORMATS,
        shown="all",
    )
    max_candidates: int = _setting(
        _whole(100, 10**7),
        _BY_BACKEND,
        "Most boxes that may enter one round of non-maximum suppression.",
        default=20_000,
    )
    queue_seconds: float = _setting(
        _seconds(0.01, 3600),
        _BY_BACKEND,
        "Longest predicted wait with which a request that names no time is still accepted.",
        default=2.0,
        shown="2",
    )
    connection_age_seconds: float = _setting(
        _seconds(0, 10**6),
        _BY_BACKEND,
        "Age at which a client's gRPC connection is told to go, give or take a tenth, so that clients find "
        "backends that were added; no call is lost by it; 0 is never.",
        default=30.0,
        shown="30",
    )
    hang_seconds: float = _setting(
        _seconds(0.1, 3600),
        _BY_BACKEND,
        "Time without progress after which a worker that has a request in flight is killed and replaced.",
        default=5.0,
        shown="5",
    )
    recycle_requests: int = _setting(
        _whole(0, 10**9),
        _BY_BACKEND,
        "Requests after which a worker, or a process of a model, is replaced, give or take a tenth; 0 is "
        "never.",
        default=0,
    )
    recycle_seconds: float = _setting(
        _seconds(0, 10**8),
        _BY_BACKEND,
        "Age at which a worker, or a process of a model, is replaced, give or take a tenth; 0 is never.",
        default=0.0,
        shown="0",
    )
    recycle_memory_bytes: int = _setting(
        _whole(0, 10**13),
        _BY_BACKEND,
        "Memory in RAM at which a worker, or a process of a model, is replaced, in bytes, once it has had a "
        "request and is a minute old; 0 is never. A worker keeps much of what a large picture needed for the "
        "next one.",
        default=0,
    )
    drain_seconds: float = _setting(
        _seconds(0, 3600),
        _BY_BOTH,
        "Time between saying that the service goes away and refusing calls: the load balancer's "
        "check interval, where there is one.",
        default=0.0,
        shown="0",
    )
    grace_seconds: float = _setting(
        _seconds(0, 3600),
        _BY_BOTH,
        "Time that running requests have to finish when the service stops.",
        default=25.0,
        shown="25",
    )
    cache_dir: Path = _setting(
        _FOLDER,
        _BY_BACKEND,
        "Folder of the converted models; written once, by the first start.",
        factory=_cache_home,
        shown="$XDG_CACHE_HOME/facet, or ~/.cache/facet",
    )
    models: tuple[str, ...] | None = _setting(
        _MODELS,
        _BY_BACKEND,
        "Models to serve from the start; then nothing is read from FACET_STATE_DIR or written to it. "
        "face_detection is always served by its own methods; as a model it is listed where it is named "
        "here, or nothing is.",
        shown="what FACET_STATE_DIR remembers",
    )
    model_store: Path | None = _setting(
        _FOLDER,
        _BY_BACKEND,
        "Folder of models, NAME/VERSION/model.toml each.",
        factory=_model_store,
        shown="$XDG_DATA_HOME/facet/models, or ~/.local/share/facet/models",
    )
    state_dir: Path | None = _setting(
        _FOLDER,
        _BY_BACKEND,
        "Folder of what a backend remembers of its models, and of the socket by which `facet models` reaches "
        "it; one for each backend.",
        factory=_state_home,
        shown="$XDG_STATE_HOME/facet, or ~/.local/state/facet",
    )
    max_request_bytes: int = _setting(
        _whole(1024, 256 * 1024**2),
        _BY_BOTH,
        "Largest request to a model, in bytes; those to find faces have FACET_MAX_IMAGE_BYTES. An answer of "
        "a model may have as many as the larger one of the two.",
        default=32 * 1024**2,
        shown="33554432 (32 MiB)",
    )
    classifier: str = _setting(
        _NAME, _BY_BACKEND, "Model that answers `/InferenceServer/inference`.", default="classifier"
    )
    expression: str = _setting(
        _NAME, _BY_BACKEND, "Model that answers `/Pipeline/run_pipeline`.", default="expression"
    )
    torchserve_address: Address | None = _setting(
        _ADDRESS,
        _BY_BACKEND,
        "Where the workers speak TorchServe's inference protocol over gRPC, all on this one port; "
        "TorchServe's own is 7070.",
        shown="off",
    )
    torchserve_http_address: Address | None = _setting(
        _ADDRESS,
        _BY_GATEWAY,
        "Where the gateway speaks TorchServe's inference protocol over HTTP, too; TorchServe's own is 8080.",
        shown="off",
    )
    torchserve_management_address: Address | None = _setting(
        _ADDRESS,
        _BY_BACKEND,
        "Where the admin process speaks TorchServe's management protocol over gRPC; TorchServe's own is "
        "7071.",
        shown="off",
    )
    torchserve_http_management_address: Address | None = _setting(
        _ADDRESS,
        _BY_BACKEND,
        "Where the admin process speaks TorchServe's management protocol over HTTP; TorchServe's own is "
        "8081.",
        shown="off",
    )
    torchserve_allowed_urls: tuple[str, ...] = _setting(
        _PATTERNS,
        _BY_BACKEND,
        "What a URL may be by which a client of TorchServe registers a model of the store.",
        default=(r"file://.*", r"http(s)?://.*"),
        shown="file://.*,http(s)?://.*",
    )
    model_api: bool = _setting(
        _SWITCH,
        _BY_BACKEND,
        "Whether callers may load and unload models by protocols whose servers let them.",
        default=False,
        shown="off",
    )
    torchserve_key_file: Path | None = _setting(
        _FILE,
        _BY_BOTH,
        "File that the backend's start fills with new keys; where it is set, calls by TorchServe's protocols "
        "must bring one as their token, and need no key of FACET_API_KEYS_FILE.",
        shown="off: no tokens",
    )
    oip: bool = _setting(
        _SWITCH,
        _BY_BOTH,
        "Whether the Open Inference Protocol, version 2, is spoken: on the backend's port, and under /v2 of "
        "the gateway.",
        default=True,
        shown="on",
    )
    traces_endpoint: str | None = _setting(
        _URL,
        _BY_BOTH,
        "Collector to which traces are exported by OTLP over HTTP, at /v1/traces below this URL; needs the "
        "packages of locks/requirements-tracing.txt.",
        shown="off: no traces",
    )
    traces_ratio: float = _setting(
        _RATIO,
        _BY_BOTH,
        "Share of the requests that are traced where their callers' `traceparent` does not decide.",
        default=0.01,
    )
    traces_per_second: int = _setting(
        _whole(1, 10_000),
        _BY_BOTH,
        "Requests that each process traces in a second at most, whoever wants it.",
        default=100,
    )
    log_format: str = _setting(
        _one_of("text", "json"),
        _BY_BOTH,
        "Form of the log lines on standard error.",
        factory=_log_format,
        shown="text on a terminal, else json",
    )

    def __post_init__(self) -> None:
        """Check what no single setting shows, and fill in what follows from another."""
        if self.timeout_seconds > self.max_timeout_seconds:
            raise InvalidSetting(
                f"FACET_TIMEOUT_SECONDS is {self.timeout_seconds:g}; accepted: at most "
                f"FACET_MAX_TIMEOUT_SECONDS, which is {self.max_timeout_seconds:g}"
            )
        for name, needed in _NEEDS:
            if getattr(self, name) and not getattr(self, needed):
                raise InvalidSetting(
                    f"{variable(name)} is set, and {variable(needed)} is not; accepted: the first with the "
                    "second, or neither"
                )
        if not self.backend:
            object.__setattr__(self, "backend", str(self.grpc_address))

    @property
    def max_answer_bytes(self) -> int:
        """The largest answer of a model; gRPC's limit is one for all messages, those with pictures, too."""
        return max(self.max_image_bytes, self.max_request_bytes)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings from a mapping such as `os.environ`; an empty value mostly counts as not set.

        Raises:
            InvalidSetting: A value cannot be used; names the variable, the value unless that may be a secret,
                and what is accepted.
        """
        values: dict[str, Any] = {}
        for setting in fields(cls):
            name = variable(setting.name)
            text = environ.get(name, "").strip()
            if not text and not (setting.metadata["empty_counts"] and name in environ):
                continue
            try:
                values[setting.name] = setting.metadata["parse"](text)
            except ValueError:
                accepted = setting.metadata["accepted"]
                raise InvalidSetting(
                    f"{name} is {_repeated(setting.name, text)}; accepted: {accepted}"
                ) from None
        # Whose defaults depend on this mapping.
        for name, default in _FOLDERS.items():
            if name not in values:
                values[name] = default(environ)
        return cls(**values)


def _repeated(name: str, text: str) -> str:
    """A value as an error repeats it, without what may be a secret that was given instead of its file."""
    if name.endswith("_file"):
        return "no such path"
    return repr(re.sub("//[^/]*@", "//…@", text))


_FOLDERS: dict[str, Callable[[Mapping[str, str]], Path | None]] = {
    "cache_dir": _cache_home,
    "model_store": _model_store,
    "state_dir": _state_home,
}


_NEEDS = (
    ("tls_cert_file", "tls_key_file"),
    ("tls_key_file", "tls_cert_file"),
    ("tls_client_ca_file", "tls_cert_file"),
    ("backend_tls_cert_file", "backend_tls_key_file"),
    ("backend_tls_key_file", "backend_tls_cert_file"),
    ("backend_tls_cert_file", "backend_tls_ca_file"),
    ("backend_tls_name", "backend_tls_ca_file"),
)
"""Settings that have no meaning without another one."""


def variable(name: str) -> str:
    """The environment variable of a field of Settings."""
    return PREFIX + name.upper()


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """One warning for each FACET_ variable that is no setting, with the nearest name that is one."""
    known = [CLIENT_KEY, *(variable(setting.name) for setting in fields(Settings))]
    warnings = []
    for name, value in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in known:
            continue
        if _SERVICE_VARIABLE.fullmatch(name) or _SERVICE_URL.match(value):
            continue
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        warnings.append(f"{name} is no setting of Facet and has no effect{hint}")
    return warnings
