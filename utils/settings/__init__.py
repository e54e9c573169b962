"""Every setting of Facet: one frozen object, built from the environment and checked as a whole.

Each setting is the field of the same name, `FACET_` before it and in capitals; the fields stand in the
modules beside this one. `docs/settings.md` is made from them. This package imports the standard library
alone, and reads nothing until it is asked.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from utils.settings.address import Address, parse_address
from utils.settings.addresses import AddressSettings
from utils.settings.folders import default_cache_dir, default_model_store, default_state_dir
from utils.settings.kinds import MODEL_NAME, UNIX, InvalidSetting
from utils.settings.models import ENGINES, INSTRUCTION_SETS, ModelSettings
from utils.settings.observability import ObservabilitySettings
from utils.settings.processes import ProcessSettings
from utils.settings.requests import IMAGE_FORMATS, RequestSettings
from utils.settings.security import DEMANDED_SCOPES, SecuritySettings

__all__ = [
    "CLIENT_KEY",
    "DEMANDED_SCOPES",
    "ENGINES",
    "GROUPS",
    "IMAGE_FORMATS",
    "INSTRUCTION_SETS",
    "MODEL_NAME",
    "UNIX",
    "Address",
    "InvalidSetting",
    "Settings",
    "parse_address",
    "unknown_settings",
    "variable",
]

PREFIX = "FACET_"

CLIENT_KEY = "FACET_API_KEY"
"""The variable of a client's own key. It is no setting: neither the gateway nor the backend is to have it."""

GROUPS = (
    AddressSettings,
    SecuritySettings,
    RequestSettings,
    ProcessSettings,
    ModelSettings,
    ObservabilitySettings,
)
"""The parts of Settings, in the order of docs/settings.md."""

# What Kubernetes puts into the environment of every pod for a Service called facet or facet-...:
# never a setting of ours, so never worth a warning.
_SERVICE_VARIABLE = re.compile(r"FACET_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)\w*)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, kw_only=True)
class Settings(
    AddressSettings, SecuritySettings, RequestSettings, ProcessSettings, ModelSettings, ObservabilitySettings
):
    """What the operator decides. Build it by `Settings.from_environ(os.environ)`."""

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
    "cache_dir": default_cache_dir,
    "model_store": default_model_store,
    "state_dir": default_state_dir,
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
