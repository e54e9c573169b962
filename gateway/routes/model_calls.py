"""What views share that ask the backend about models, or call one: each holds a permit meanwhile."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import request

from gateway.backend import Backend
from gateway.context import REQUEST_TIMEOUT, Patience, RequestContext, current, patience_of
from gateway.forms.input_form import InputForm
from gateway.forms.model_inputs import ModelBody, any_form
from gateway.routes.backend_calls import Permits, call_options, read_body
from utils.errors import ModelNotFound, shown
from utils.models import ModelDescription, Prediction
from utils.service_client import BlockingCallOptions
from utils.settings import MODEL_NAME, Settings

Send = Callable[[ModelBody, BlockingCallOptions], Prediction]
"""Has the backend answer a body."""


class ModelCalls:
    """Calls for the current request.

    Args:
        backend: Answers them.
        settings: Limits and times.
        permits: How many calls there may be at once.
    """

    def __init__(self, backend: Backend, settings: Settings, permits: Permits) -> None:
        self.backend = backend
        self.settings = settings
        self._permits = permits

    def models(self) -> list[ModelDescription]:
        """Every version of every model."""
        context, patience = current(), self._patience()
        with self._permits.one():
            return self.backend.models(**call_options(context, patience))

    def describe(self, name: str, version: str) -> ModelDescription:
        """One version; without one named that which serves calls that name none."""
        context, patience = current(), self._patience()
        _note(context, checked(name), version)
        with self._permits.one():
            return self.backend.describe(name, version, **call_options(context, patience))

    def ask(self, method: str, arguments: Mapping[str, Any], seconds: float | None = None) -> dict[str, Any]:
        """Ask a method of the Open Inference Protocol.

        Args:
            method: Its name.
            arguments: Fields of its request.
            seconds: That it has where its caller names no time; None: as any request.
        """
        context, patience = current(), self._patience()
        if seconds is not None and not patience.named:
            patience = Patience(seconds, named=False)
        with self._permits.one():
            return self.backend.inference_protocol(method, arguments, **call_options(context, patience))

    def ask_of_model(self, method: str, name: str, version: str) -> dict[str, Any]:
        """Ask one of its methods about a version of a model."""
        _note(current(), checked(name), version)
        return self.ask(method, {"name": name, "version": version})

    def change(self, method: str, name: str, arguments: Mapping[str, Any]) -> None:
        """Have one of its methods change a model, which may take longer than a prediction."""
        _note(current(), checked(name), "")
        self.ask(method, arguments, self.settings.max_timeout_seconds)

    def predict(
        self, name: str, version: str, form: InputForm[ModelBody], query: str, send: Send
    ) -> Prediction:
        """Have a model answer the body, which is in this form."""
        context, patience = current(), self._patience()
        _note(context, name, version)
        with self._permits.one():
            body = form.parse(read_body(context), query)
            context.note(bytes=len(body.content))
            prediction = send(body, call_options(context, patience))
        _note(context, prediction.name, prediction.version)
        return prediction

    def predict_encoded(
        self,
        name: str,
        version: str,
        operation: str,
        parameters: bytes,
        query: str,
        *,
        time_in: Callable[[bytes], float] = lambda _content: 0,
    ) -> Prediction:
        """Have a model answer the body as it came, in one of the encodings that the model lists.

        Args:
            name: Of the model.
            version: Of the model, or empty.
            operation: The encoding.
            parameters: What it needs to know beside the body.
            query: The query string.
            time_in: The seconds that a body itself gives its request, 0 where it says nothing.
        """

        def send(body: ModelBody, options: BlockingCallOptions) -> Prediction:
            if seconds := time_in(body.content):
                options = self._within(seconds, options)
            return self.backend.predict_encoded(
                name, operation, body.content, parameters=parameters, version=version, **options
            )

        return self.predict(checked(name), version, any_form(request.environ, self.settings), query, send)

    def _within(self, seconds: float, options: BlockingCallOptions) -> BlockingCallOptions:
        """The same options, but for a time that its caller has named; the earlier of two counts."""
        longest = options["timeout"] if options["timeout_named"] else None
        if longest is None:
            longest = self.settings.max_timeout_seconds
        return {**options, "timeout": min(seconds, longest), "timeout_named": True}

    def _patience(self) -> Patience:
        return patience_of(request.headers.get(REQUEST_TIMEOUT), self.settings)


def _note(context: RequestContext, name: str, version: str) -> None:
    context.note(model=name, version=version or None)


def checked(name: str) -> str:
    """A name that a model may have.

    Raises:
        ModelNotFound: None may.
    """
    if not MODEL_NAME.fullmatch(name):
        raise ModelNotFound(
            f"There is no model {shown(name)!r}; GET /models lists those there are.", field="name"
        )
    return name
