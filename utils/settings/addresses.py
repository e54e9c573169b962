"""Where Facet listens, and where the gateway finds the backend."""

from dataclasses import dataclass
from pathlib import Path

from utils.settings.address import Address
from utils.settings.kinds import (
    ADDRESS,
    BY_BACKEND,
    BY_BOTH,
    BY_GATEWAY,
    HOSTS,
    LISTENER,
    OPTIONAL_ADDRESS,
    SWITCH,
    TARGET,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class AddressSettings:
    """Where Facet listens, and where the gateway finds the backend."""

    http_address: Address = setting(
        ADDRESS,
        BY_GATEWAY,
        "Where the HTTP gateway listens.",
        default=Address("127.0.0.1", 8000),
    )
    http_metrics_address: Address | None = setting(
        OPTIONAL_ADDRESS,
        BY_GATEWAY,
        "Where the gateway tells its metrics; another address than a loopback one needs "
        "FACET_API_KEYS_FILE. Empty, it tells none.",
        default=Address("127.0.0.1", 8003),
    )
    grpc_address: Address = setting(
        ADDRESS,
        BY_BACKEND,
        "Where the backend's workers listen, all on this one port. gRPC takes 0.0.0.0 for [::], all "
        "addresses of IPv4 and IPv6, where the machine has IPv6.",
        default=Address("127.0.0.1", 50051),
    )
    admin_address: Address | Path | None = setting(
        LISTENER,
        BY_BACKEND,
        "Where the backend's admin process listens, for operators; another address than a loopback one needs "
        "FACET_API_KEYS_FILE. Empty, there is no such process.",
        default=Address("127.0.0.1", 8002),
    )
    admin_grpc_address: Address | None = setting(
        ADDRESS,
        BY_BACKEND,
        "Where the admin process listens for gRPC.",
        shown="none",
    )
    admin_hosts: tuple[str, ...] = setting(
        HOSTS,
        BY_BOTH,
        "Names of hosts by which the admin process may be called, and the gateway for its metrics, besides "
        "their addresses and those of loopback.",
        default=(),
        shown="none",
    )
    backend: str = setting(
        TARGET,
        BY_GATEWAY,
        "The gRPC target that the gateway calls.",
        default="",
        shown="the value of FACET_GRPC_ADDRESS",
    )
    torchserve_address: Address | None = setting(
        ADDRESS,
        BY_BACKEND,
        "Where the workers speak TorchServe's inference protocol over gRPC, all on this one port; "
        "TorchServe's own is 7070.",
        shown="off",
    )
    torchserve_http_address: Address | None = setting(
        ADDRESS,
        BY_GATEWAY,
        "Where the gateway speaks TorchServe's inference protocol over HTTP, too; TorchServe's own is 8080.",
        shown="off",
    )
    torchserve_management_address: Address | None = setting(
        ADDRESS,
        BY_BACKEND,
        "Where the admin process speaks TorchServe's management protocol over gRPC; TorchServe's own is "
        "7071.",
        shown="off",
    )
    torchserve_http_management_address: Address | None = setting(
        ADDRESS,
        BY_BACKEND,
        "Where the admin process speaks TorchServe's management protocol over HTTP; TorchServe's own is "
        "8081.",
        shown="off",
    )
    oip: bool = setting(
        SWITCH,
        BY_BOTH,
        "Whether the Open Inference Protocol, version 2, is spoken: on the backend's port, and under /v2 of "
        "the gateway.",
        default=True,
        shown="on",
    )
