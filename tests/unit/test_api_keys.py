"""Rules of the file of keys, and of what a process that runs knows of it."""

import json
import logging
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.keys import KeyFile
from tests.support.processes import wait_until
from utils.api_keys import (
    GATEWAY,
    MANAGE,
    MOST_KEYS,
    PREDICT,
    ApiKey,
    KeysUnusable,
    digest_of,
    new_key,
    read_keys,
    write_keys,
)
from utils.errors import KeysUnavailable, KeyUnknown
from utils.key_ring import KeyRing

VALUES: dict[str, Any] = {
    "name": "shop",
    "sha256": digest_of("secret").hex(),
    "scopes": ["predict"],
    "rate": 5,
    "burst": 10,
    "created": "2026-02-01T10:20:30Z",
}


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    """A file without keys."""
    return KeyFile(tmp_path)


def written(folder: Path, *keys: dict[str, Any], **members: object) -> Path:
    """A file as somebody could write it by hand."""
    path = folder / "written.json"
    path.write_text(json.dumps({"format": 1, "keys": keys, **members}))
    path.chmod(0o600)
    return path


@pytest.mark.security(
    endpoint="keys",
    attack="Keys to be guessed, or read from the file of keys",
    outcome="A key has 256 random bits, and is not in the file",
)
def test_a_secret_is_256_random_bits_that_are_recognised(keys: KeyFile) -> None:
    """And is in no file; nor is another one like it."""
    secrets = [keys.add(f"key-{number}", PREDICT) for number in range(20)]
    assert len(set(secrets)) == 20
    for secret in secrets:
        assert secret.startswith("facet_")
        assert len(secret.removeprefix("facet_")) == 43  # of base64, 6 bits each
        assert secret.removeprefix("facet_") not in keys.path.read_text()


def test_a_key_is_read_as_it_was_written(keys: KeyFile) -> None:
    """With all that is known of it."""
    key, secret = new_key("shop.1", [PREDICT, MANAGE], 2.5, None)
    assert (key.burst, key.digest) == (3, digest_of(secret))
    plain, _ = new_key("gateway", [GATEWAY], None, None)
    write_keys(keys.path, [key, plain])
    assert read_keys(keys.path) == (key, plain)


def test_a_file_by_hand_is_taken(tmp_path: Path) -> None:
    """With whole numbers, and without what may be left out."""
    [key] = read_keys(written(tmp_path, VALUES))
    assert key == ApiKey("shop", digest_of("secret"), frozenset({"predict"}), 5.0, 10, VALUES["created"])
    least = {name: VALUES[name] for name in ("name", "sha256", "scopes")}
    [key] = read_keys(written(tmp_path, least))
    assert (key.rate, key.burst, key.created) == (None, 0, "")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "-shop"}, "the first no mark"),
        ({"name": "a" * 65}, "1 to 64 letters"),
        ({"name": 3}, "no text"),
        ({"sha256": "ABC"}, "no SHA-256"),
        ({"sha256": VALUES["sha256"].upper()}, "no SHA-256"),
        ({"scopes": []}, "some of predict, manage, metrics, gateway"),
        ({"scopes": ["admin"]}, "some of predict, manage, metrics, gateway"),
        ({"scopes": "predict"}, "no list"),
        ({"rate": 0}, "rate is 0"),
        ({"rate": -1}, "rate is -1"),
        ({"rate": "5"}, "no number"),
        ({"rate": True}, "no number"),
        ({"burst": 0}, "burst is 0"),
        ({"burst": 1.5}, "no number"),
        ({"rate": None}, "accepted without a rate"),
        ({"scopes": ["gateway"]}, "accepted with the scope gateway: none"),
        ({"key": "facet_x"}, "the member 'key'"),
    ],
)
def test_a_key_that_is_none_makes_the_file_unusable(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    """Rather than that it is passed over."""
    with pytest.raises(KeysUnusable, match=why):
        read_keys(written(tmp_path, {**VALUES, **change}))


@pytest.mark.parametrize("lacking", ["name", "sha256", "scopes"])
def test_a_key_has_what_it_must_have(tmp_path: Path, lacking: str) -> None:
    """And is told what it lacks."""
    with pytest.raises(KeysUnusable, match=f"lacks '{lacking}'"):
        read_keys(written(tmp_path, {name: value for name, value in VALUES.items() if name != lacking}))


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"format": 1}', '{"format": 1, "keys": 3}', "[" * 9999, "NaN"]
)
def test_a_damaged_file_is_unusable(tmp_path: Path, content: str) -> None:
    """As is one that is not there, or a folder."""
    path = tmp_path / "damaged.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeysUnusable, match="damaged"):
        read_keys(path)
    for other in (tmp_path, tmp_path / "none"):
        with pytest.raises(KeysUnusable, match=r"cannot be read|others"):
            read_keys(other)


def test_a_file_of_another_release_is_unusable(tmp_path: Path) -> None:
    """Which may mean something else by it."""
    with pytest.raises(KeysUnusable, match="of format 2; accepted: 1"):
        read_keys(written(tmp_path, format=2))


def test_keys_are_told_apart(tmp_path: Path) -> None:
    """By their names and by their secrets; and there are no more than are looked through quickly."""
    other = {**VALUES, "name": "other"}
    with pytest.raises(KeysUnusable, match="2 keys have the sha256"):
        read_keys(written(tmp_path, VALUES, other))
    with pytest.raises(KeysUnusable, match="2 keys have the name shop"):
        read_keys(written(tmp_path, VALUES, {**VALUES, "sha256": "0" * 64}))
    many = [{**VALUES, "name": str(number), "sha256": f"{number:064x}"} for number in range(MOST_KEYS + 1)]
    with pytest.raises(KeysUnusable, match="1001 keys; accepted: 1000"):
        read_keys(written(tmp_path, *many))
    assert len(read_keys(written(tmp_path, *many[1:]))) == MOST_KEYS


@pytest.mark.security(
    endpoint="keys",
    attack="A file of keys that others can read, write or run",
    outcome="Not used",
)
def test_a_file_that_others_can_use_is_unusable(keys: KeyFile) -> None:
    """Who can write it could give himself a key."""
    for mode in (0o604, 0o602, 0o601):
        keys.path.chmod(mode)
        with pytest.raises(KeysUnusable, match="others than its owner and group"):
            read_keys(keys.path)
    keys.path.chmod(0o660)
    read_keys(keys.path)


@pytest.mark.security(
    endpoint="keys",
    attack="A new file of keys while the umask is 0",
    outcome="It is its owner's alone",
)
def test_a_new_file_is_its_owners_and_an_old_one_keeps_its_rights(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        keys = KeyFile(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    keys.path.chmod(0o640)
    keys.add("shop", PREDICT)
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o640
    assert [path.name for path in keys.path.parent.iterdir()] == [keys.path.name]


def test_a_write_that_fails_leaves_the_file_as_it_was(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it."""
    keys.add("shop", PREDICT)
    before = keys.path.read_text()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        keys.add("other", PREDICT)
    assert keys.path.read_text() == before
    assert [path.name for path in keys.path.parent.iterdir()] == [keys.path.name]


# --- while a process runs -----------------------------------------------------------------------------


@pytest.fixture
def ring(keys: KeyFile) -> tuple[KeyRing, str]:
    """What a process knows of the file, and a secret in it."""
    secret = keys.add("shop", PREDICT)
    return KeyRing(keys.path), secret


@pytest.mark.security(
    endpoint="keys",
    attack="A part of a key, a longer one, and its SHA-256",
    outcome="`KEY_UNKNOWN`",
)
def test_a_key_is_found_by_its_whole_secret(ring: tuple[KeyRing, str]) -> None:
    """By no part of it, and by nothing else."""
    known, secret = ring
    key = known.find(secret)
    assert key.name == "shop"
    digest = key.digest.hex()
    for other in (secret[:-1], secret + "x", secret.upper(), digest, f"facet_{digest}", "", "é\ud800"):
        with pytest.raises(KeyUnknown):
            known.find(other)


def test_what_changes_in_the_file_counts_within_a_second(keys: KeyFile, ring: tuple[KeyRing, str]) -> None:
    """A new key, and the end of another, of a request that is under way, too."""
    known, secret = ring
    key = known.find(secret)
    another = keys.add("another", MANAGE)
    keys.revoke("shop")
    time.sleep(1)  # as long as it may take
    assert known.find(another).name == "another"
    with pytest.raises(KeyUnknown):
        known.find(secret)
    with pytest.raises(KeyUnknown):
        known.again(key)


def test_a_broken_file_changes_nothing_and_is_told_once(
    keys: KeyFile, ring: tuple[KeyRing, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a byte of it; when it is mended, it counts again."""
    known, secret = ring
    keys.path.write_text("facet_broken")
    wait_until(lambda: bool(known.find(secret) and caplog.records), "it is seen")
    for _ in range(3):
        known._look()  # as time goes on
        assert known.find(secret).name == "shop"
    [record] = caplog.records
    assert (record.levelno, record.message) == (logging.ERROR, "key file not usable")
    told = record.__dict__["facet_fields"]
    assert (told["path"], told["kept"], "facet_" in told["reason"]) == (str(keys.path), True, False)
    write_keys(keys.path, ())

    def is_gone() -> bool:
        try:
            return not known.find(secret)
        except KeyUnknown:
            return True

    wait_until(is_gone, "the mended file counts")


def test_a_process_that_begins_with_a_broken_file_says_so(tmp_path: Path) -> None:
    """To callers, whose keys may be good: it does not tell them that they are not."""
    known = KeyRing(tmp_path / "keys.json")
    with pytest.raises(KeysUnavailable) as caught:
        known.find("facet_x")
    assert caught.value.retry_after == 1
    secret = KeyFile(tmp_path).add("shop", PREDICT)

    def is_known() -> bool:
        try:
            return known.find(secret).name == "shop"
        except KeysUnavailable:
            return False

    wait_until(is_known, "the file is there")
