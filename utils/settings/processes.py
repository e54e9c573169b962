"""Processes and connections: how many there are, and when they end."""

from dataclasses import dataclass

from utils.cpus import usable_cpus
from utils.settings.kinds import BY_BACKEND, BY_BOTH, BY_GATEWAY, seconds, setting, whole


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """Processes and connections: how many there are, and when they end."""

    workers: int = setting(
        whole(1, 1024),
        BY_BACKEND,
        "Worker processes of the backend, each with one detector on one CPU.",
        factory=usable_cpus,
        shown="the CPUs that the process may use",
    )
    http_workers: int = setting(whole(1, 1024), BY_GATEWAY, "Processes of the gateway.", default=2)
    http_threads: int = setting(
        whole(9, 4096),
        BY_GATEWAY,
        "Threads of each gateway process; 8 of them are kept for requests other than those for faces and "
        "models.",
        default=64,
    )
    keepalive_seconds: float = setting(
        seconds(0.1, 3600),
        BY_GATEWAY,
        "Time that a connection of the gateway may be idle between two requests; above the idle time of the "
        "load balancer, where there is one.",
        default=75.0,
        shown="75",
    )
    connection_age_seconds: float = setting(
        seconds(0, 10**6),
        BY_BACKEND,
        "Age at which a client's gRPC connection is told to go, give or take a tenth, so that clients find "
        "backends that were added; no call is lost by it; 0 is never.",
        default=30.0,
        shown="30",
    )
    hang_seconds: float = setting(
        seconds(0.1, 3600),
        BY_BACKEND,
        "Time without progress after which a worker that has a request in flight is killed and replaced.",
        default=5.0,
        shown="5",
    )
    recycle_requests: int = setting(
        whole(0, 10**9),
        BY_BACKEND,
        "Requests after which a worker, or a process of a model, is replaced, give or take a tenth; 0 is "
        "never.",
        default=0,
    )
    recycle_seconds: float = setting(
        seconds(0, 10**8),
        BY_BACKEND,
        "Age at which a worker, or a process of a model, is replaced, give or take a tenth; 0 is never.",
        default=0.0,
        shown="0",
    )
    recycle_memory_bytes: int = setting(
        whole(0, 10**13),
        BY_BACKEND,
        "Memory in RAM at which a worker, or a process of a model, is replaced, in bytes, once it has had a "
        "request and is a minute old; 0 is never. A worker keeps much of what a large picture needed for the "
        "next one.",
        default=0,
    )
    drain_seconds: float = setting(
        seconds(0, 3600),
        BY_BOTH,
        "Time between saying that the service goes away and refusing calls: the load balancer's "
        "check interval, where there is one.",
        default=0.0,
        shown="0",
    )
    grace_seconds: float = setting(
        seconds(0, 3600),
        BY_BOTH,
        "Time that running requests have to finish when the service stops.",
        default=25.0,
        shown="25",
    )
