"""Keys for tests, in a file of their own."""

import weakref
from pathlib import Path

from utils.api_keys import MANAGE, new_key, read_keys, write_keys
from utils.rate_limits import limits_path


class KeyFile:
    """A file of keys, which is changed as `facet keys` changes it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.json"
        write_keys(self.path, ())
        # What counts requests outlives the processes that count.
        weakref.finalize(self, limits_path(self.path).unlink, missing_ok=True)

    def add(self, name: str, *scopes: str, rate: float | None = None, burst: int | None = None) -> str:
        """Make a key; gives its secret."""
        key, secret = new_key(name, scopes, rate, burst)
        write_keys(self.path, (*read_keys(self.path), key))
        return secret

    def revoke(self, name: str) -> None:
        """Take a key away."""
        write_keys(self.path, [key for key in read_keys(self.path) if key.name != name])

    @property
    def environ(self) -> dict[str, str]:
        """The settings by which these keys are demanded."""
        return {"FACET_API_KEYS_FILE": str(self.path)}

    def for_managers(self) -> dict[str, str]:
        """The settings by which they are demanded for management alone."""
        return {**self.environ, "FACET_API_KEY_SCOPES": MANAGE}


def bearer(secret: str) -> dict[str, str]:
    """The header field by which a key is shown."""
    return {"Authorization": f"Bearer {secret}"}
