"""Who may call a worker: keys are checked before a message is received, and items of streams as they come."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from protos.oip import descriptor
from protos.torchserve import service_name
from utils.access import Access, Caller, believe
from utils.api_keys import GATEWAY, MANAGE, PREDICT
from utils.metadata import AUTHORIZATION, CALLER

_OIP: Final = next(iter(descriptor().services_by_name.values())).full_name
_HEALTH: Final = "/grpc.health.v1.Health/"
_OPEN: Final = {f"/{_OIP}/ServerLive", f"/{_OIP}/ServerReady", f"/{service_name('inference')}/Ping"}
"""What probes ask, as they ask for the health, without a key."""
_CHANGES: Final = {f"/{_OIP}/RepositoryModelLoad", f"/{_OIP}/RepositoryModelUnload"}

_nobody = Caller()
_caller: ContextVar[Caller] = ContextVar("caller", default=_nobody)
_admit_item: ContextVar[Callable[[Caller], None] | None] = ContextVar("admit_item", default=None)


def current_caller() -> Caller:
    """Who makes the call that the current task answers."""
    return _caller.get()


def admit_item() -> None:
    """Let another item of the current call in, which is a stream of them.

    Raises:
        KeyUnknown: Its key was revoked meanwhile.
        KeysUnavailable, RateLimited: It is refused.
    """
    admit = _admit_item.get()
    if admit is not None:
        admit(_caller.get())


def scope_of(method: str) -> str | None:
    """The scope that a method needs; None where it needs no key."""
    if method.startswith(_HEALTH) or method in _OPEN:
        return None
    return MANAGE if method in _CHANGES else PREDICT


class CallAccess:
    """Checks calls.

    Args:
        access: Checks their keys; None where they need none.
    """

    def __init__(self, access: Access | None) -> None:
        self._access = access

    def admit(self, method: str, metadata: Mapping[str, Any], *, counted: bool) -> None:
        """Let a call in, which the current task answers.

        Args:
            method: Its path.
            metadata: What it came with.
            counted: Whether it is a request, and not a stream of them.

        Raises:
            FacetError: As Access.admit.
        """
        caller, scope = Caller(), scope_of(method)
        _caller.set(caller)
        if self._access is None or scope is None:
            _admit_item.set(None)
            return
        _admit_item.set(self._access.admit_item)
        self._access.admit(caller, metadata.get(AUTHORIZATION), scope, counted=counted, also=GATEWAY)
        believe(caller, metadata.get(CALLER))
