"""Failures of the service: it has too much to do, is not there, or is at fault itself."""

from typing import ClassVar

from utils.errors.base import Code, FacetError


class Overloaded(FacetError):
    """There is more work than can, or may, be done in time; `retry_after` says when to try again."""

    code = Code.RESOURCE_EXHAUSTED
    http_status = 429


class RateLimited(Overloaded):
    """A key has made more requests than it may in this time."""

    reason = "RATE_LIMITED"
    title = "The key has made too many requests"


class QueueFull(Overloaded):
    """The backend has as much waiting as it can do in time."""

    reason = "QUEUE_FULL"
    title = "The queue is full"


class TooManyUnfinishedMessages(Overloaded):
    """More gRPC messages are on their way to a worker than it receives at once."""

    reason = "TOO_MANY_UNFINISHED_MESSAGES"
    title = "Too many messages are unfinished"


class GatewayBusy(Overloaded):
    """This gateway process has no thread for another request, or no room for its body."""

    reason = "GATEWAY_BUSY"
    title = "The gateway is busy"


class TooManyModels(Overloaded):
    """There are as many versions of models, or processes for them, as there can be."""

    reason = "TOO_MANY_MODELS"
    title = "There is no room for another model"


class TooManyChanges(Overloaded):
    """As many changes of the models are waited for as may be."""

    reason = "TOO_MANY_CHANGES"
    title = "Too many changes are made at once"


class ExtrasNotAnswered(FacetError):
    """The backend has passed over what was wanted beside the faces: it is of an earlier release."""

    code = Code.UNIMPLEMENTED
    http_status = 501
    reason = "EXTRAS_NOT_ANSWERED"
    title = "The backend does not know what was asked for"


class BackendUnavailable(FacetError):
    """The backend cannot be reached, or is not ready."""

    code = Code.UNAVAILABLE
    http_status = 503
    reason = "BACKEND_UNAVAILABLE"
    title = "The backend is unavailable"


class GatewayStopping(FacetError):
    """This gateway is about to stop, whatever its backend does."""

    code = Code.UNAVAILABLE
    http_status = 503
    reason = "GATEWAY_STOPPING"
    title = "The gateway is about to stop"


class DeadlineExceeded(FacetError):
    """The request's time ran out before its answer."""

    code = Code.DEADLINE_EXCEEDED
    http_status = 504
    reason = "DEADLINE_EXCEEDED"
    title = "The request ran out of time"


class Cancelled(FacetError):
    """The caller went away. Nobody receives this: it is what the log says."""

    code = Code.CANCELLED
    http_status = 499
    reason = "CANCELLED"
    title = "The caller went away"


class WorkerCrashed(FacetError):
    """Workers died with this payload in flight, so it is not tried again for a while."""

    code = Code.INTERNAL
    http_status = 500
    reason = "WORKER_CRASHED"
    title = "The request crashes its worker"


class InternalError(FacetError):
    """A fault of ours. The caller gets this fixed message, the log the rest."""

    code = Code.INTERNAL
    http_status = 500
    reason = "INTERNAL"
    title = "Internal error"
    message: ClassVar[str] = "The service failed on this request. The log has the details."

    def __init__(
        self,
        detail: str = message,
        *,
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail, field=field, retry_after=retry_after)
