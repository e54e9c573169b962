"""Rules of TorchServe's tokens."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from utils.errors import TokenRefused
from utils.torchserve_keys import Tokens, write_keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of keys."""
    made = tmp_path / "key_file.json"
    write_keys(made)
    return made


def keys(path: Path) -> dict[str, Any]:
    """What is in it."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_each_port_has_a_key_for_an_hour(path: Path) -> None:
    """That which renews them has no end. The file is its owner's alone, and nothing lies beside it."""
    found = keys(path)
    assert list(found) == ["management", "inference", "API"]
    assert found["API"].keys() == {"key"}
    assert len({one["key"] for one in found.values()}) == 3
    for port in ("management", "inference"):
        end = found[port]["expiration time"]
        assert end.endswith("Z")
        rest = datetime.fromisoformat(end) - datetime.now(UTC)
        assert timedelta(minutes=59) < rest <= timedelta(hours=1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - hidden ones, too


def test_new_keys_replace_old_ones(path: Path) -> None:
    """With each start."""
    before = keys(path)
    write_keys(path)
    assert not {one["key"] for one in before.values()} & {one["key"] for one in keys(path).values()}


def test_a_key_lets_a_call_in(path: Path) -> None:
    """Until it is renewed; those of other ports stay as they are."""
    tokens = Tokens(path, "inference")
    old = keys(path)
    tokens.check(f"Bearer {old['inference']['key']}")
    Tokens(path, "API").renew("inference")
    with pytest.raises(TokenRefused):
        tokens.check(f"Bearer {old['inference']['key']}")
    new = keys(path)
    tokens.check(f"Bearer {new['inference']['key']}")
    assert (new["management"], new["API"]) == (old["management"], old["API"])
    tokens.for_port("management").check(f"Bearer {new['management']['key']}")


def test_renewals_at_once_lose_none(path: Path) -> None:
    """Each port has another key after its own."""
    tokens, together = Tokens(path, "API"), threading.Barrier(2)

    def renew(port: Literal["management", "inference"]) -> None:
        together.wait()
        tokens.renew(port)

    with ThreadPoolExecutor(2) as threads:
        for _ in range(50):
            before = keys(path)
            both = [threads.submit(renew, "management"), threads.submit(renew, "inference")]
            for one in both:
                one.result()
            after = keys(path)
            assert before["management"] != after["management"]
            assert before["inference"] != after["inference"]


@pytest.mark.security(
    endpoint="keys",
    attack="TorchServe's key by another scheme, or with other spaces",
    outcome="Refused",
)
@pytest.mark.parametrize(
    "scheme", ["Bearer  {}", "bearer {}", "Basic {}", "{}", "Bearer {} ", "Bearer", "Bearer ä"]
)
def test_what_is_no_bearer_of_the_key_is_refused(path: Path, scheme: str) -> None:
    """To the letter, as TorchServe does."""
    with pytest.raises(TokenRefused, match="Token Authorization failed"):
        Tokens(path, "inference").check(scheme.format(keys(path)["inference"]["key"]))


@pytest.mark.security(
    endpoint="keys",
    attack="TorchServe's key of another of its ports",
    outcome="Refused",
)
@pytest.mark.parametrize("port", ["management", "API"])
def test_the_key_of_another_port_is_refused(path: Path, port: str) -> None:
    """And so is no token at all."""
    for token in (f"Bearer {keys(path)[port]['key']}", None):
        with pytest.raises(TokenRefused):
            Tokens(path, "inference").check(token)


@pytest.mark.security(
    endpoint="keys",
    attack="A file of TorchServe's keys that is damaged, gone or too old",
    outcome="Nobody is let in",
)
@pytest.mark.parametrize(
    "content",
    [
        '{"inference": {"key": "a", "expiration time": "2024-04-16T22:23:32.952499Z"}}',
        '{"inference": {"key": "a", "expiration time": "never"}}',
        '{"inference": {}}',
        '{"inference": {"key": 1}}',
        "{}",
        "no JSON",
        None,
    ],
)
def test_a_file_that_has_no_key_lets_nobody_in(
    path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Or one whose time is over, or none at all. The log says once what is wrong with the file."""
    tokens = Tokens(path, "inference")
    tokens.check(f"Bearer {keys(path)['inference']['key']}")
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    for _ in range(2):
        with pytest.raises(TokenRefused):
            tokens.check("Bearer a")
    expired = content is not None and "2024" in content
    assert caplog.messages == ([] if expired else ["token file not usable"])
