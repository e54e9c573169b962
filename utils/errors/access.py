"""Failures of who asks, and how: paths, methods, keys and tokens."""

from utils.errors.base import Code, FacetError


class RouteNotFound(FacetError):
    """No such path or method."""

    code = Code.UNIMPLEMENTED
    http_status = 404
    reason = "ROUTE_NOT_FOUND"
    title = "There is nothing here"


class MethodNotAllowed(FacetError):
    """The path exists, but not for this HTTP method."""

    code = Code.UNIMPLEMENTED
    http_status = 405
    reason = "METHOD_NOT_ALLOWED"
    title = "The HTTP method is not allowed here"


class KeyRefused(FacetError):
    """The caller does not have the key that this needs."""

    code = Code.UNAUTHENTICATED
    http_status = 401


class KeyMissing(KeyRefused):
    """The request has no key, and needs one."""

    reason = "KEY_MISSING"
    title = "The request needs a key"


class KeyUnknown(KeyRefused):
    """The request has a key that was revoked, or never made."""

    reason = "KEY_UNKNOWN"
    title = "The key is not known"


class KeyLacksScope(KeyRefused):
    """The key is not for what is asked for."""

    code = Code.PERMISSION_DENIED
    http_status = 403
    reason = "KEY_LACKS_SCOPE"
    title = "The key is not for this"


class KeysUnavailable(FacetError):
    """This process could not read the file of keys since it began, so it can check none."""

    code = Code.UNAVAILABLE
    http_status = 503
    reason = "KEYS_UNAVAILABLE"
    title = "No key can be checked now"


class TokenRefused(FacetError):
    """A token is demanded, and none came, or a wrong or expired one."""

    code = Code.PERMISSION_DENIED
    http_status = 403
    reason = "TOKEN_REFUSED"
    title = "The token is refused"


class RequestRefused(FacetError):
    """Requests that come in this way are not answered: a web page may have made them."""

    code = Code.PERMISSION_DENIED
    http_status = 403
    reason = "REQUEST_REFUSED"
    title = "The request is refused"
