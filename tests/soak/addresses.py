"""Where everything listens during the soak."""

from dataclasses import dataclass, fields
from typing import Self

from tests.support.facet import free_port


@dataclass(frozen=True)
class Addresses:
    """All addresses of the gateway, and from `grpc` on of the backend."""

    http: str
    torchserve_http: str
    http_metrics: str
    grpc: str
    torchserve: str
    admin_http: str
    admin_grpc: str
    torchserve_http_management: str
    torchserve_management: str

    @classmethod
    def free(cls) -> Self:
        """Such as nobody listens at now."""
        return cls(*(f"127.0.0.1:{free_port()}" for _ in fields(cls)))

    def backend(self) -> dict[str, str]:
        """The settings of a backend that listens at all of them."""
        return {
            "FACET_GRPC_ADDRESS": self.grpc,
            "FACET_TORCHSERVE_ADDRESS": self.torchserve,
            "FACET_ADMIN_ADDRESS": self.admin_http,
            "FACET_ADMIN_GRPC_ADDRESS": self.admin_grpc,
            "FACET_TORCHSERVE_HTTP_MANAGEMENT_ADDRESS": self.torchserve_http_management,
            "FACET_TORCHSERVE_MANAGEMENT_ADDRESS": self.torchserve_management,
        }

    def gateway(self) -> dict[str, str]:
        """The settings of the gateway."""
        return {
            "FACET_HTTP_ADDRESS": self.http,
            "FACET_TORCHSERVE_HTTP_ADDRESS": self.torchserve_http,
            "FACET_HTTP_METRICS_ADDRESS": self.http_metrics,
            "FACET_BACKEND": self.grpc,
        }
