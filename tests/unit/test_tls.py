"""Rules of the files of TLS."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.certificates import Authority, Pair, encrypted
from utils.settings import InvalidSetting, Settings
from utils.tls import ClientTls, Pem, TlsFiles, TlsUnusable, client_tls, server_tls


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who issues."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> Pair:
    """A pair that a test may spoil."""
    made = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    made.replace(authority.issue("first"))
    made.key.chmod(0o600)
    return made


def files_of(pair: Pair, authority: Authority) -> TlsFiles:
    """As the backend has them."""
    settings = Settings(tls_cert_file=pair.cert, tls_key_file=pair.key, tls_client_ca_file=authority.cert)
    files = server_tls(settings)
    assert files is not None
    return files


def test_without_its_settings_there_is_no_tls() -> None:
    """At neither end."""
    assert (server_tls(Settings()), client_tls(Settings())) == (None, None)


def test_what_the_files_hold_is_the_same_until_it_changes(
    pair: Pair, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """And another pair counts at once; a file that is only touched is no change."""
    caplog.set_level("INFO")
    files = files_of(pair, authority)
    files.check()
    first = files.current()
    assert first == Pem(pair.cert.read_bytes(), pair.key.read_bytes(), authority.cert.read_bytes())
    assert files.current() is first
    os.utime(pair.cert)
    assert files.current() is first
    pair.replace(authority.issue("second"))
    assert files.current() == Pem(pair.cert.read_bytes(), pair.key.read_bytes(), first.ca)
    assert [record.getMessage() for record in caplog.records] == ["TLS files read again"] * 2


UNUSABLE: list[tuple[Callable[[Pair], object], str]] = [
    (lambda pair: pair.cert.write_text("garbage"), "CERT_FILE is {cert}, which holds no certificate in PEM"),
    (
        lambda pair: pair.cert.write_bytes(pair.cert.read_bytes()[:200]),
        "CERT_FILE is {cert}, which holds no certificate in PEM",
    ),
    (lambda pair: pair.cert.unlink(), "CERT_FILE is {cert}, which cannot be read: No such file or directory"),
    (lambda pair: pair.key.write_text("garbage"), "KEY_FILE is {key}, which holds no private key in PEM"),
    (lambda pair: pair.key.write_bytes(b""), "KEY_FILE is {key}, which holds no private key in PEM"),
    (lambda pair: pair.key.unlink(), "KEY_FILE is {key}, which cannot be read: No such file or directory"),
    (
        lambda pair: encrypted(pair).replace(pair.key),
        "KEY_FILE is {key}; accepted: a key without a passphrase",
    ),
]


@pytest.mark.parametrize(("spoil", "why"), UNUSABLE)
def test_files_that_cannot_be_used_end_a_start(
    pair: Pair, authority: Authority, spoil: Callable[[Pair], object], why: str
) -> None:
    """The message names the setting, the file and what is wrong."""
    spoil(pair)
    files = files_of(pair, authority)
    for used in (files.check, files.current):
        with pytest.raises(TlsUnusable) as caught:
            used()
        assert str(caught.value) == "FACET_TLS_" + why.format(cert=pair.cert, key=pair.key)


@pytest.mark.parametrize(("spoil", "why"), UNUSABLE)
def test_files_that_cannot_be_used_any_more_leave_what_was(
    pair: Pair,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    *,
    spoil: Callable[[Pair], object],
    why: str,
) -> None:
    """The log says why, once; when they are well again, they count again."""
    files, saved = files_of(pair, authority), authority.issue("saved")
    before = files.current()
    spoil(pair)
    assert [files.current() is before for _ in range(3)] == [True] * 3
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("ERROR", "TLS files not usable")
    reason = line.__dict__["facet_fields"]["reason"]
    assert reason == "FACET_TLS_" + why.format(cert=pair.cert, key=pair.key)
    pair.replace(saved)
    assert files.current().cert == saved.cert.read_bytes()


@pytest.mark.security(
    endpoint="tls",
    attack="A key that does not belong to its certificate",
    outcome="Not taken; the pair of before counts",
)
def test_a_key_of_another_certificate_is_not_taken(pair: Pair, authority: Authority) -> None:
    """As in the middle of a change."""
    files = files_of(pair, authority)
    before = files.current()
    pair.cert.write_bytes(authority.issue("third").cert.read_bytes())
    assert files.current() is before
    with pytest.raises(TlsUnusable, match="not that of the certificate of FACET_TLS_CERT_FILE"):
        files.check()


@pytest.mark.parametrize("algorithm", ["ed25519", "ed448"])
def test_a_key_that_grpc_does_not_take_is_not_taken(pair: Pair, authority: Authority, algorithm: str) -> None:
    """Or else no connection would come about any more."""
    files = files_of(pair, authority)
    before = files.current()
    pair.replace(authority.issue(algorithm, key=[algorithm]))
    assert files.current() is before
    with pytest.raises(TlsUnusable, match="accepted: a key for RSA or ECDSA"):
        files.check()


@pytest.mark.parametrize("key", [["rsa:2048"], ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]])
def test_keys_for_rsa_and_ecdsa_are_taken(pair: Pair, authority: Authority, key: list[str]) -> None:
    """In any of PEM's forms that OpenSSL writes."""
    pair.replace(authority.issue("other-key", key=key))
    files_of(pair, authority).check()


@pytest.mark.security(
    endpoint="tls",
    attack="A private key that other users can read",
    outcome="A warning in the log",
)
def test_a_key_that_others_can_read_is_warned_of(
    pair: Pair, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """And used."""
    files = files_of(pair, authority)
    files.check()
    assert not caplog.records
    pair.key.chmod(0o644)
    files.check()
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("WARNING", "private key readable by others")


def test_a_client_names_its_own_arguments(tmp_path: Path) -> None:
    """In what it raises."""
    with pytest.raises(TlsUnusable, match=r"^ca_file is .*ca\.pem, which cannot be read"):
        ClientTls(tmp_path / "ca.pem").files.check()
    with pytest.raises(TlsUnusable, match="cert_file and key_file"):
        ClientTls(tmp_path / "ca.pem", cert_file=tmp_path / "cert.pem")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("TLS_CERT_FILE", "TLS_KEY_FILE"),
        ("TLS_KEY_FILE", "TLS_CERT_FILE"),
        ("TLS_CLIENT_CA_FILE", "TLS_CERT_FILE"),
        ("BACKEND_TLS_CERT_FILE", "BACKEND_TLS_KEY_FILE"),
        ("BACKEND_TLS_KEY_FILE", "BACKEND_TLS_CERT_FILE"),
        ("BACKEND_TLS_NAME", "BACKEND_TLS_CA_FILE"),
    ],
)
def test_settings_that_have_no_meaning_alone_are_refused(given: str, missing: str) -> None:
    """By the name of that which is missing."""
    with pytest.raises(InvalidSetting, match=f"FACET_{given} is set, and FACET_{missing} is not"):
        Settings.from_environ({f"FACET_{given}": "/x" if given.endswith("FILE") else "backend.example"})
