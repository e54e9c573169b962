"""Who may ask for what: keys are checked and counted where requests enter, before their bodies are read."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from utils.api_keys import GATEWAY, KEY_NAME, ApiKey, KeysUnusable, read_keys
from utils.errors import KeyLacksScope, KeyMissing, RateLimited
from utils.key_ring import KeyRing
from utils.rate_limits import Quota, RateLimits, limits_path
from utils.settings import InvalidSetting, Settings

_SCHEME = "bearer"


@dataclass(slots=True)
class Caller:
    """Who makes a request, as far as is known.

    Attributes:
        key: Its key; None where none was demanded, or none is known.
        passed_on: The name of the key of whom a gateway asks for; empty where it is no gateway that asks.
        quota: What is left of the limit of its key; None where that has none, or was not counted.
    """

    key: ApiKey | None = None
    passed_on: str = ""
    quota: Quota | None = None

    @property
    def name(self) -> str:
        """Of the key by which the request came; empty where it came without one."""
        return self.passed_on or ("" if self.key is None else self.key.name)

    @property
    def gateway(self) -> str:
        """The name of the key of the gateway that has passed the request on; empty where none has."""
        return self.key.name if self.passed_on and self.key is not None else ""


class Access:
    """Lets requests in by their keys. Threads may share it, processes must not.

    Args:
        ring: The keys.
        limits: Counts what they make.
        demanded: The scopes for which a key is needed; for others none is looked at.
    """

    def __init__(self, ring: KeyRing, limits: RateLimits, demanded: Collection[str]) -> None:
        self._ring = ring
        self._limits = limits
        self._demanded = demanded

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the operator decides; None where no request needs a key.

        Raises:
            OSError: There is no place where requests can be counted.
        """
        path = settings.api_keys_file
        if path is None:
            return None
        return cls(KeyRing(path), RateLimits(limits_path(path)), settings.api_key_scopes)

    def admit(
        self,
        caller: Caller,
        authorization: str | None,
        scope: str,
        *,
        counted: bool = True,
        also: str = "",
    ) -> None:
        """Let a request in, and say who makes it.

        Args:
            caller: Is told of it, also where the request is refused for what its key may not do.
            authorization: What its header field, or metadata, of that name says.
            scope: That its key must have.
            counted: Whether it is to be counted, and is not many, each of which is counted when it comes.
            also: Another scope that does as well: GATEWAY where it may be passed on, whose key was checked.

        Raises:
            KeyMissing, KeyUnknown, KeyLacksScope, KeysUnavailable, RateLimited: It is refused.
        """
        if scope not in self._demanded:
            return
        scheme, _, secret = (authorization or "").strip().partition(" ")
        if scheme.lower() != _SCHEME or not secret:
            raise KeyMissing(
                "The request has no key; accepted: Authorization with Bearer and a key", field="Authorization"
            )
        caller.key = key = self._ring.find(secret.lstrip())
        if scope not in key.scopes and also not in key.scopes:
            needed = scope if also in {"", GATEWAY} else f"{also} or {scope}"
            raise KeyLacksScope(
                f"The key {key.name} is for {', '.join(sorted(key.scopes))}; needed here: {needed}",
                field="Authorization",
            )
        if counted and key.rate is not None:
            self._count(caller, key)

    def admit_item(self, caller: Caller) -> None:
        """Let one more of many in, which a request brings that was let in before.

        Raises:
            KeyUnknown: Its key was revoked meanwhile.
            KeysUnavailable, RateLimited: It is refused.
        """
        if caller.key is not None:
            key = self._ring.again(caller.key)
            if key.rate is not None:
                self._count(caller, key)

    def _count(self, caller: Caller, key: ApiKey) -> None:
        caller.quota = quota = self._limits.take(key)
        if quota.retry_after:
            raise RateLimited(
                f"The key {key.name} may make {key.rate:g} requests a second, {key.burst} at once.",
                retry_after=quota.retry_after,
            )


def believe(caller: Caller, name: str | None) -> None:
    """Take over for whom a gateway asks, which is believed of a key of its scope only."""
    key = caller.key
    if key is not None and GATEWAY in key.scopes and name is not None and KEY_NAME.fullmatch(name):
        caller.passed_on = name


def demands_keys(scope: str, settings: Settings) -> bool:
    """Whether requests for which a scope is needed need a key at all."""
    return settings.api_keys_file is not None and scope in settings.api_key_scopes


def check_keys(settings: Settings) -> None:
    """Refuse to start without the keys that are to be demanded.

    Raises:
        InvalidSetting: Their file cannot be used, or their requests cannot be counted.
    """
    path = settings.api_keys_file
    if path is None:
        return
    try:
        read_keys(path)
        RateLimits(limits_path(path)).close()
    except KeysUnusable as error:
        raise InvalidSetting(f"FACET_API_KEYS_FILE is {path}: {error}") from error
    except OSError as error:
        raise InvalidSetting(
            f"FACET_API_KEYS_FILE is {path}, but requests cannot be counted: {error}"
        ) from error
