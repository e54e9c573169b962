"""TorchServe's management, whatever carries it; errors have the texts of utils.torchserve."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from inference_server.admin.process_changes import ProcessChanges
from inference_server.admin.supervisor_client import Execute
from inference_server.admin.torchserve_documents import described
from inference_server.admin.torchserve_urls import ModelUrls, Registration, file_name, is_elsewhere
from inference_server.catalogue.commands import (
    DescribeModel,
    ListModels,
    Register,
    Scale,
    SetDefault,
    Status,
    Unregister,
)
from inference_server.catalogue.model_settings import ModelSettings
from inference_server.catalogue.names import FACE_DETECTION, version_key
from utils import torchserve
from utils.errors import (
    FacetError,
    InvalidModel,
    MalformedRequest,
    ModelApiDisabled,
    ModelConflict,
    ModelExists,
    ModelLoadFailed,
    ModelNotFound,
    ModelNotReady,
    ParameterMissing,
)

ALL = "all"
"""Instead of a version: every one."""
_MOST_LISTED = 100
_GIVEN = {"name", *ModelSettings.__dataclass_fields__}
"""What a caller gives, so that an error at one of them is the caller's; other errors are met by loading."""
_RUNTIMES = ("", "python", "python3", "LSP")


class Done(NamedTuple):
    """A text that says what was done, or where it is not yet, that it will be."""

    text: str
    at_once: bool = True


class TorchServeManagement:
    """Answers what TorchServe's clients ask of the models.

    Args:
        execute: Asks the supervisor.
        urls: Finds what is to be registered.
        model_api: Whether models may be registered and unregistered.
    """

    def __init__(self, execute: Execute, urls: ModelUrls, *, model_api: bool) -> None:
        self._execute = execute
        self._processes = ProcessChanges(execute)
        self._urls = urls
        self._model_api = model_api

    def describe(self, name: str, version: str = "", *, customized: bool = False) -> list[dict[str, Any]]:
        """Versions of a model.

        Args:
            name: Of the model.
            version: Empty for the default one, `all` for all.
            customized: Whether what the model says of itself is to be among it; not for all versions.

        Raises:
            ModelNotFound: There is no such model or version.
            ModelNotReady: No process of it could say more.
        """
        customized = customized and version != ALL
        try:
            versions = self._versions(name)
            chosen = versions if version == ALL else [_chosen(name, version, versions)]
        except ModelNotFound as error:
            if customized:  # TorchServe asks a process, and tells of it otherwise
                error.field = torchserve.OF_PROCESS[error.field == torchserve.VERSION]
            raise
        if customized and not any(one["ready_workers"] for one in chosen):
            raise _refused(ModelNotReady, torchserve.NO_WORKER_TO_DESCRIBE, model=name)
        faces = any(one["name"] == FACE_DETECTION for one in chosen)
        workers = self._execute(Status())["groups"][0]["processes"] if faces else []
        return [described(one, workers, with_card=customized) for one in chosen]

    def list_models(self, limit: int, token: int) -> dict[str, Any]:
        """A page of the models by name.

        Args:
            limit: Most of a page; below 0 and above 100 it is 100.
            token: Of the first, from 0; below 0 it is 0.
        """
        limit = limit if 0 <= limit <= _MOST_LISTED else _MOST_LISTED
        token = max(token, 0)
        by_name: dict[str, str] = {}
        for one in self._execute(ListModels())["models"]:
            if one["default"] or one["name"] not in by_name:
                by_name[one["name"]] = one["url"]
        names = sorted(by_name)
        page = [{"modelName": name, "modelUrl": by_name[name]} for name in names[token : token + limit]]
        more = {"nextPageToken": str(token + limit)} if token + limit <= len(names) else {}
        return {**more, "models": page}

    def register(self, wanted: Registration) -> Done:
        """Serve a model of the store.

        Raises:
            ModelApiDisabled: No models may be registered.
            ParameterMissing: There is no URL.
            MalformedRequest: There is no such runtime.
            ModelNotFound: There is no such model, or its URL is not allowed.
            ModelExists: It is registered already.
            ModelLoadFailed: It cannot be loaded, or is registered by a URL of another machine already.
            FacetError: What the supervisor says.
        """
        self._check_model_api()
        if wanted.url is None:
            raise ParameterMissing(torchserve.URL_REQUIRED, field="url")
        if wanted.runtime not in _RUNTIMES:
            raise _refused(MalformedRequest, torchserve.WRONG_RUNTIME, "runtime", runtime=wanted.runtime)
        url, found = self._urls.find(wanted.url)
        name = wanted.name or found.name
        names = {"model": name, "version": found.version}
        settings = {**wanted.settings, "min_workers": wanted.workers, "max_workers": wanted.workers}
        if found.name == FACE_DETECTION:  # whose processes are there already
            settings = {}
        # Without processes it takes no longer than its loading, which shows whether it can be loaded.
        synchronous = wanted.synchronous or not wanted.workers
        command = Register(url, wanted.name, settings=settings, synchronous=synchronous)
        execute = self._processes.make_and_wait if synchronous else self._execute
        try:
            answer = execute(command)
        except ModelExists as error:
            if is_elsewhere(wanted.url):
                raise _refused(ModelLoadFailed, torchserve.FILE_EXISTS, file=file_name(wanted.url)) from error
            raise _refused(ModelExists, torchserve.ALREADY_REGISTERED, **names) from error
        except (ModelLoadFailed, InvalidModel) as error:
            if isinstance(error, InvalidModel) and error.field in _GIVEN:
                raise
            raise _refused(ModelLoadFailed, torchserve.NOT_STARTED, **names) from error
        if not synchronous:
            return Done(torchserve.UPDATING, at_once=False)
        workers = answer["workers"]
        text = torchserve.REGISTERED if workers else torchserve.REGISTERED_IDLE
        return Done(text.format(model=answer["name"], version=answer["version"], workers=workers))

    def scale(self, name: str, version: str, least: int, most: int, *, synchronous: bool) -> Done:
        """Have as many processes of a version as there are, or what is nearest to that within bounds.

        Args:
            name: Of the model.
            version: Empty for the default one.
            least: The lower bound.
            most: The upper bound.
            synchronous: Whether to wait until they serve.

        Raises:
            ParameterMissing: There is no name.
            MalformedRequest: The bounds are no bounds.
            ModelNotFound: There is no such model or version.
            FacetError: What the supervisor says.
        """
        if not name:
            raise ParameterMissing(torchserve.MODEL_NAME_REQUIRED, field="model_name")
        if most < least:
            raise MalformedRequest(torchserve.MAX_BELOW_MIN, field="max_worker")
        there = _chosen(name, version, self._versions(name))
        workers = min(max(there["workers"], least), most)
        command = Scale(name, there["version"], workers, most)
        if synchronous:
            self._processes.make_and_wait(command)
            text = torchserve.SCALED_VERSION if version else torchserve.SCALED
            return Done(text.format(workers=least, model=name, version=version))
        self._processes.begin(command)
        return Done(torchserve.UPDATING, at_once=False)

    def set_default(self, name: str, version: str) -> Done:
        """Have calls that name no version served by this one.

        Raises:
            ModelNotFound: There is no such model or version.
        """
        if version not in {one["version"] for one in self._versions(name)}:
            raise _refused(
                ModelNotFound,
                torchserve.NO_VERSION_TO_DEFAULT,
                torchserve.VERSION,
                model=name,
                version=version,
            )
        self._execute(SetDefault(name, version))
        return Done(torchserve.DEFAULT_SET.format(model=name, version=version))

    def unregister(self, name: str, version: str = "") -> Done:
        """Serve a version no longer; without one the default one.

        Raises:
            ModelApiDisabled: No models may be unregistered.
            ParameterMissing: There is no name.
            ModelNotFound: There is no such model or version.
            ModelConflict: It is the default version, and there are others.
            FacetError: What the supervisor says.
        """
        self._check_model_api()
        if not name:
            raise ParameterMissing(torchserve.URL_REQUIRED, field="model_name")
        there = _chosen(name, version, self._versions(name))
        try:
            self._execute(Unregister(name, there["version"]))
        except ModelConflict as error:
            raise _refused(ModelConflict, torchserve.DEFAULT_STAYS, torchserve.DEFAULT, model=name) from error
        return Done(torchserve.UNREGISTERED.format(model=name))

    def _check_model_api(self) -> None:
        if not self._model_api:
            raise ModelApiDisabled(torchserve.API_DISABLED)

    def _versions(self, name: str) -> list[dict[str, Any]]:
        """All versions of a model, the lowest first.

        Raises:
            ModelNotFound: There are none.
        """
        try:
            found = self._execute(DescribeModel(name))["models"]
        except ModelNotFound as error:
            raise _refused(ModelNotFound, torchserve.NO_SUCH_MODEL, model=name) from error
        return sorted(found, key=lambda one: version_key(one["version"]))


def _chosen(name: str, version: str, versions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The version of this number; without one the default, or where there is none yet, the lowest."""
    for one in versions:
        if one["version"] == version or (not version and one["default"]):
            return one
    if version:
        raise _refused(
            ModelNotFound, torchserve.NO_SUCH_VERSION, torchserve.VERSION, model=name, version=version
        )
    return versions[0]


def _refused(kind: type[FacetError], text: str, at: str | None = None, **names: str) -> FacetError:
    """An error with TorchServe's text."""
    return kind(torchserve.filled(text, **names), field=at)
