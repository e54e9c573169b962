"""What TorchServe's clients ask to be registered, and which model of the store they mean by its URL."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from inference_server.catalogue.store import Resolved
from utils import torchserve
from utils.errors import InvalidModel, ModelNotFound

_WITH_VERSION = re.compile(r"[^/:]+/[0-9][A-Za-z0-9._-]*(?<!\.mar)")
_ELSEWHERE = re.compile(r"https?://.*", re.IGNORECASE)
_URL = re.compile(r"(file|https?)://.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Registration:
    """What is to be registered.

    Attributes:
        url: Of the model; None where there is none.
        name: What it is to be called; empty for its own name.
        runtime: One of TorchServe's, or empty.
        workers: How many processes are to run; TorchServe's default is none.
        synchronous: Whether to wait until it is served.
        settings: Of ModelSettings, those that are not to be the model's own.
    """

    url: str | None
    name: str = ""
    runtime: str = ""
    workers: int = 0
    synchronous: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


class ModelUrls:
    """Finds models of the store by URLs. Nothing is downloaded: what counts of a URL is its last part.

    Args:
        resolve: Finds a model by what is known of it here, as Store.resolve.
        allowed: Regular expressions, of which the URL of a file or of another machine must match one.
    """

    def __init__(self, resolve: Callable[[str], Resolved], allowed: Iterable[str]) -> None:
        self._resolve = resolve
        self._allowed = [re.compile(pattern, re.IGNORECASE) for pattern in allowed]

    def find(self, url: str) -> tuple[str, Resolved]:
        """What a URL is to the supervisor, and what is there.

        Raises:
            ModelNotFound: Nothing is, or the URL is not allowed.
            InvalidModel: What is there is no valid model.
        """
        if not url:
            raise ModelNotFound(torchserve.EMPTY_URL, field="url")
        if ".." in url:
            raise ModelNotFound(torchserve.filled(torchserve.RELATIVE_PATH, url=url), field="url")
        if _URL.fullmatch(url) and not any(allowed.fullmatch(url) for allowed in self._allowed):
            raise ModelNotFound(torchserve.filled(torchserve.NOT_ALLOWED, url=url), field="url")
        known = url if "://" in url or _WITH_VERSION.fullmatch(url) else file_name(url)
        try:
            return known, self._resolve(known)
        except (ModelNotFound, InvalidModel) as error:
            if isinstance(error, InvalidModel) and error.field != "url":
                raise
            text, at = (torchserve.NOTHING_AT, "url")
            if is_elsewhere(url):
                text, at = (torchserve.NOT_DOWNLOADED, torchserve.DOWNLOAD)
            raise ModelNotFound(torchserve.filled(text, url=url), field=at) from error


def is_elsewhere(url: str) -> bool:
    """Whether TorchServe would download what a URL means."""
    return bool(_ELSEWHERE.fullmatch(url))


def file_name(url: str) -> str:
    """The last part of a path or URL."""
    return PurePosixPath(unquote(urlsplit(url).path) if "://" in url else url).name
