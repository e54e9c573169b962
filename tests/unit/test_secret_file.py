"""Rules of a secret in a file."""

import os
from pathlib import Path

import pytest

from utils.secret_file import SecretFile, SecretUnusable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a secret."""
    made = tmp_path / "secret"
    made.write_text(" secret\n")
    made.chmod(0o640)
    return made


def test_the_secret_is_the_files_content_without_white_space_around_it(path: Path) -> None:
    """As an editor leaves it."""
    secret = SecretFile(path)
    secret.check()
    assert secret.read() == "secret"


def test_another_secret_counts_at_once(path: Path) -> None:
    """Though it is as long, and written within the same moment; by another file in its place, too."""
    secret = SecretFile(path)
    assert secret.read() == "secret"
    before = path.stat()
    path.write_text(" secure\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert secret.read() == "secure"
    other = path.with_name("other")
    other.write_text("third")
    other.chmod(0o600)
    other.replace(path)
    assert secret.read() == "third"


@pytest.mark.security(
    endpoint="keys",
    attack="A gateway's key file that others can read, or that holds no key any more",
    outcome="Not used; the key of before counts, and the log says why, once",
)
@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"", 0o600, "empty"),
        (b" \n", 0o600, "empty"),
        (b"secret", 0o644, "others than its owner and group"),
        (b"secret", 0o602, "others than its owner and group"),
        (b"x" * 5000, 0o600, "more than 4096 bytes"),
        (b"two words", 0o600, "other characters"),
        (b"s\xc3\xa9cret", 0o600, "other characters"),
        (None, 0, "No such file"),
    ],
)
def test_a_file_that_is_no_secret_changes_nothing(
    path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None, mode: int, why: str
) -> None:
    """The one of before counts; the reason is logged once, and no secret ever; later it may be well again."""
    secret = SecretFile(path)
    assert secret.read() == "secret"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        path.chmod(mode)
    assert [secret.read() for _ in range(3)] == ["secret"] * 3
    with pytest.raises(SecretUnusable, match=why):
        secret.check()
    assert [record.message for record in caplog.records] == ["key file not usable"]
    assert SecretFile(path).read() == ""
    path.write_text("another")
    path.chmod(0o600)
    assert secret.read() == "another"
