"""Rules of a token in a file."""

import os
from pathlib import Path

import pytest

from utils.token_file import TokenFile, TokenUnusable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a token."""
    made = tmp_path / "token"
    made.write_text(" secret\n")
    made.chmod(0o640)
    return made


def test_the_token_is_the_files_content_without_white_space_around_it(path: Path) -> None:
    """Nothing else is accepted, no part of it either."""
    token = TokenFile(path)
    token.check()
    assert token.accepts("secret")
    assert not any(map(token.accepts, ("", "secre", "secret ", "Secret", "sécret")))


def test_another_token_counts_at_once(path: Path) -> None:
    """Though it is as long, and written within the same moment; by another file in its place, too."""
    token = TokenFile(path)
    assert token.accepts("secret")
    before = path.stat()
    path.write_text(" secure\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [token.accepts("secret"), token.accepts("secure")] == [False, True]
    other = path.with_name("other")
    other.write_text("third")
    other.chmod(0o600)
    other.replace(path)
    assert [token.accepts("secure"), token.accepts("third")] == [False, True]


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"", 0o600, "empty"),
        (b" \n", 0o600, "empty"),
        (b"secret", 0o644, "others than its owner and group"),
        (b"secret", 0o602, "others than its owner and group"),
        (b"x" * 5000, 0o600, "more than 4096 bytes"),
        (None, 0, "No such file"),
    ],
)
def test_a_file_that_is_no_secret_accepts_nobody(
    path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None, mode: int, why: str
) -> None:
    """Nor what it held before; the reason is logged once, and the token never; later it may be well again."""
    token = TokenFile(path)
    assert token.accepts("secret")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        path.chmod(mode)
    for _ in range(3):
        assert not any(map(token.accepts, ("secret", "", "x" * 5000)))
    with pytest.raises(TokenUnusable, match=why):
        token.check()
    assert [record.message for record in caplog.records] == ["token file not usable"]
    path.write_text("another")
    path.chmod(0o600)
    assert token.accepts("another")
