"""The name of a request in every log line about it, given by its caller or made here."""

import re
import uuid

_ACCEPTED = re.compile(r"[\x21-\x7e]{1,128}")


def request_id(wish: str | None) -> str:
    """The caller's own id where it is 1 to 128 visible ASCII characters, else a fresh one."""
    if wish is not None and _ACCEPTED.fullmatch(wish):
        return wish
    return uuid.uuid4().hex
