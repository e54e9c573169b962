"""Rules of the settings."""

import os
import pwd
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from inference_server.images.formats import ACCEPTED
from scripts import document_settings
from utils.cpus import usable_cpus
from utils.settings import (
    IMAGE_FORMATS,
    Address,
    InvalidSetting,
    Settings,
    parse_address,
    unknown_settings,
    variable,
)


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    """Nobody needs to set anything to start."""
    settings = Settings.from_environ({})
    assert str(settings.http_address) == "127.0.0.1:8000"
    assert str(settings.grpc_address) == settings.backend == "127.0.0.1:50051"
    assert settings.workers == usable_cpus()
    assert (settings.timeout_seconds, settings.max_timeout_seconds) == (5, 60)
    assert (settings.max_image_bytes, settings.max_image_pixels) == (10 * 1024**2, 25_000_000)
    assert settings.log_format in {"text", "json"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("HTTP_ADDRESS", "0.0.0.0:80", Address("0.0.0.0", 80)),
        ("GRPC_ADDRESS", "[::1]:0", Address("::1", 0)),
        ("BACKEND", "dns:///facet.internal:50051", "dns:///facet.internal:50051"),
        ("WORKERS", "3", 3),
        ("TIMEOUT_SECONDS", "0.25", 0.25),
        ("MAX_IMAGE_BYTES", " 2048 ", 2048),
        ("CACHE_DIR", "/var/cache/facet", Path("/var/cache/facet")),
        ("LOG_FORMAT", "json", "json"),
        ("ENGINE", "onnx", "onnx"),
        ("IMAGE_FORMATS", "png, JPEG", ("jpeg", "png")),
        ("IMAGE_FORMATS", "", IMAGE_FORMATS),
        ("WORKERS", "", usable_cpus()),
        ("ADMIN_ADDRESS", "unix:/run/facet/admin.sock", Path("/run/facet/admin.sock")),
        ("ADMIN_ADDRESS", "[::1]:0", Address("::1", 0)),
        ("ADMIN_ADDRESS", " ", None),
        ("ADMIN_GRPC_ADDRESS", "", None),
        ("TORCHSERVE_ADDRESS", "127.0.0.1:7070", Address("127.0.0.1", 7070)),
        ("TORCHSERVE_ADDRESS", "", None),
        ("TORCHSERVE_KEY_FILE", "/run/facet/key_file.json", Path("/run/facet/key_file.json")),
        ("TORCHSERVE_ALLOWED_URLS", r"https://a\.b/.*, file://.*", (r"https://a\.b/.*", "file://.*")),
        ("MODEL_API", "on", True),
        ("API_KEYS_FILE", "/etc/facet/keys.json", Path("/etc/facet/keys.json")),
        ("API_KEY_SCOPES", "manage", ("manage",)),
        ("API_KEY_SCOPES", "manage, predict", ("predict", "manage")),
        ("MODEL_API", "off", False),
        ("TRACES_ENDPOINT", "", None),
        ("TRACES_ENDPOINT", "http://127.0.0.1:4318/", "http://127.0.0.1:4318"),
        ("TRACES_ENDPOINT", "https://collector.example/otlp", "https://collector.example/otlp"),
        ("TRACES_RATIO", "0.25", 0.25),
        ("ADMIN_HOSTS", "Facet.example, 10.0.0.1,[::2]", ("facet.example", "10.0.0.1", "[::2]")),
    ],
)
def test_a_setting_is_read_from_its_variable(name: str, text: str, value: object) -> None:
    """FACET_ and the field's name in capitals; but for one an empty value counts as not set."""
    assert getattr(Settings.from_environ({f"FACET_{name}": text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "accepted"),
    [
        ("HTTP_ADDRESS", "8000", "host:port"),
        ("HTTP_ADDRESS", "localhost:99999", "host:port"),
        ("GRPC_ADDRESS", "::1:50051", "host:port"),
        ("BACKEND", "a b", "host:port"),
        ("WORKERS", "0", "a whole number from 1 to 1024"),
        ("WORKERS", "two", "a whole number"),
        ("HTTP_THREADS", "8", "a whole number from 9"),
        ("TIMEOUT_SECONDS", "nan", "a number of seconds"),
        ("TIMEOUT_SECONDS", "-1", "a number of seconds"),
        ("TIMEOUT_SECONDS", "61", "FACET_MAX_TIMEOUT_SECONDS"),
        ("ENGINE", "cuda", "one of auto, native, onnx"),
        ("IMAGE_FORMATS", "jpeg,psd", "some of jpeg, png, webp"),
        ("IMAGE_FORMATS", "jpeg,", "some of jpeg, png, webp"),
        ("CACHE_DIR", "cache", "absolute"),
        ("LOG_FORMAT", "xml", "text, json"),
        ("MODEL_API", "yes", "on or off"),
        ("TORCHSERVE_ALLOWED_URLS", "https://(", "regular expressions"),
        ("TRACES_ENDPOINT", "127.0.0.1:4318", "a URL of http or https"),
        ("TRACES_RATIO", "1.5", "a number from 0 to 1"),
        ("TRACES_RATIO", "nan", "a number from 0 to 1"),
        ("TRACES_PER_SECOND", "0", "a whole number from 1"),
    ],
)
def test_an_invalid_value_names_variable_value_and_what_is_accepted(
    name: str, text: str, accepted: str
) -> None:
    """The start ends with one line that needs no manual."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_environ({f"FACET_{name}": text})
    message = str(caught.value)
    assert f"FACET_{name}" in message
    assert text in message
    assert accepted in message
    assert "\n" not in message


@pytest.mark.security(
    endpoint="keys",
    attack="Secrets in the environment, which processes inherit and others may read",
    outcome="No setting takes a secret itself: each that is about one names a file",
)
def test_no_setting_takes_a_secret_itself() -> None:
    """Each that is about one takes the path of a file."""
    about = re.compile("(token|key|secret|password|passphrase|credential)s?(_file)?$")
    names = [one.name for one in fields(Settings) if about.search(one.name)]
    assert {"api_keys_file", "backend_key_file", "tls_key_file"} <= set(names)
    assert all(name.endswith("_file") for name in names)


@pytest.mark.security(
    endpoint="keys",
    attack="A secret given instead of the file that has it, or a password within a URL",
    outcome="The start ends, and does not repeat it",
)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("API_KEYS_FILE", "hunter2"),
        ("BACKEND_KEY_FILE", "hunter2"),
        ("TORCHSERVE_KEY_FILE", "hunter2"),
        ("TLS_KEY_FILE", "hunter2"),
        ("TRACES_ENDPOINT", "http://user:hunter2@collector:4318"),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(name: str, text: str) -> None:
    """Where it is no valid value, which is told otherwise."""
    with pytest.raises(InvalidSetting, match=f"^FACET_{name} is .*; accepted: ") as caught:
        Settings.from_environ({f"FACET_{name}": text})
    assert "hunter2" not in str(caught.value)


def test_the_cache_folder_follows_the_xdg_specification() -> None:
    """A relative XDG_CACHE_HOME counts as not set."""
    assert Settings.from_environ({"XDG_CACHE_HOME": "/c"}).cache_dir == Path("/c/facet")
    environ = {"XDG_CACHE_HOME": "c", "HOME": "/home/f"}
    assert Settings.from_environ(environ).cache_dir == Path("/home/f/.cache/facet")


def test_a_home_that_no_variable_names_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system's list of users, whatever the variables of this process say."""
    monkeypatch.setenv("HOME", "/home/other")
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert Settings.from_environ({}).cache_dir == home / ".cache/facet"


def test_who_has_no_home_needs_a_cache_folder_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a number of nobody's."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert Settings.from_environ({"FACET_CACHE_DIR": "/var/cache"}).cache_dir == Path("/var/cache")
    assert Settings.from_environ({"XDG_CACHE_HOME": "/c"}).cache_dir == Path("/c/facet")
    for environ in ({}, {"FACET_CACHE_DIR": "~/cache"}):
        with pytest.raises(InvalidSetting, match=r"FACET_CACHE_DIR.*; accepted: the absolute path"):
            Settings.from_environ(environ)


def test_an_unknown_setting_is_warned_about_with_the_nearest_name() -> None:
    """A typo must not pass in silence."""
    assert unknown_settings({"FACET_WORKER": "2", "PATH": "/bin", "FACET_WORKERS": "2"}) == [
        "FACET_WORKER is no setting of Facet and has no effect; did you mean FACET_WORKERS?"
    ]
    assert unknown_settings({"FACET_ZZZZZZ": "1"}) == [
        "FACET_ZZZZZZ is no setting of Facet and has no effect"
    ]


def test_the_key_of_a_client_is_no_setting_and_no_warning() -> None:
    """It may be in the environment of a shell that starts Facet, too, whose processes do not have it."""
    environ = {"FACET_API_KEY": "facet_secret"}
    assert unknown_settings(environ) == []
    assert "facet_secret" not in repr(Settings.from_environ(environ))


def test_what_kubernetes_injects_for_a_service_is_no_warning() -> None:
    """Every pod gets these for a Service called facet or facet-grpc."""
    injected = {
        "FACET_SERVICE_HOST": "10.0.0.1",
        "FACET_SERVICE_PORT": "50051",
        "FACET_SERVICE_PORT_GRPC": "50051",
        "FACET_PORT": "tcp://10.0.0.1:50051",
        "FACET_PORT_50051_TCP": "tcp://10.0.0.1:50051",
        "FACET_PORT_50051_TCP_ADDR": "10.0.0.1",
        "FACET_GRPC_SERVICE_HOST": "10.0.0.1",
        "FACET_GRPC_PORT": "tcp://10.0.0.1:50051",
    }
    assert unknown_settings(injected) == []
    assert unknown_settings({"FACET_HTTP_PORT": "8000"}) != []


def test_settings_cannot_be_changed() -> None:
    """What a process decided by stays what it was."""
    with pytest.raises(FrozenInstanceError):
        Settings().workers = 2  # type: ignore[misc]


def test_every_setting_is_documented_on_the_settings_page() -> None:
    """With its variable, its default and what it decides."""
    text = document_settings.PAGE.read_text()
    for setting in fields(Settings):
        assert (
            f"`{variable(setting.name)}` | {setting.metadata['default']} | {setting.metadata['doc']}" in text
        )


@pytest.mark.parametrize("text", ["127.0.0.1:8000", "[::1]:50051", "localhost:0", "facet.internal:1"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    """Reading and writing are inverse."""
    assert str(parse_address(text)) == text


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """An affinity of eight."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    ("group", "quotas", "cpus"),
    [
        ("0::/", {}, 8),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "1600000 100000"}, 8),
        ("0::/system.slice/f.service", {"system.slice/f.service/cpu.max": "200000 100000"}, 2),
        ("0::/a/b", {"cpu.max": "300000 100000", "a/b/cpu.max": "500000 100000"}, 3),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ("0::/a", {"a/b/cpu.max": "100000 100000", "c/cpu.max": "100000 100000"}, 8),
        ("0::/not/seen/here", {"cpu.max": "200000 100000"}, 2),
        ("0::/../other", {"cpu.max": "200000 100000"}, 2),
        ("1:memory:/m\n0::/a", {"a/cpu.max": "400000 100000"}, 4),
        ("0::/", {"cpu.max": "nonsense"}, 8),
        ("3:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("3:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ("3:cpu,cpuacct:/f", {"cpu/f/cpu.cfs_quota_us": "200000", "cpu/f/cpu.cfs_period_us": "100000"}, 2),
        (None, {"cpu.max": "200000 100000"}, 2),
    ],
)
def test_the_least_cpu_quota_of_the_process_and_those_above_it_wins(
    tmp_path: Path, group: str | None, quotas: dict[str, str], cpus: int
) -> None:
    """Where it is below the affinity: in a container, as systemd's CPUQuota, by both versions of cgroups."""
    files = {f"sys/fs/cgroup/{name}": text for name, text in quotas.items()}
    if group is not None:
        files["proc/self/cgroup"] = f"{group}\n"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cpus(tmp_path) == cpus


def test_every_format_that_is_decoded_can_be_named() -> None:
    """The setting knows the names by itself: it is read where no decoder is loaded."""
    assert tuple(name.lower() for name in ACCEPTED) == IMAGE_FORMATS
