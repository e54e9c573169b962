"""Failures that the caller must mend: the request itself, or its size."""

from utils.errors.base import Code, FacetError


class InvalidRequest(FacetError):
    """The request must change before it can succeed."""

    code = Code.INVALID_ARGUMENT
    http_status = 400


class MalformedRequest(InvalidRequest):
    """The request as a whole cannot be read: no HTTP, not JSON, not an object, a member of a wrong type."""

    reason = "MALFORMED_REQUEST"
    title = "The request cannot be read"


class ImageMissing(InvalidRequest):
    """There is no image in the request."""

    reason = "IMAGE_MISSING"
    title = "The request has no image"


class ImageEmpty(InvalidRequest):
    """There is an image of zero bytes."""

    reason = "IMAGE_EMPTY"
    title = "The image is empty"


class InvalidBase64(InvalidRequest):
    """The image of a JSON request is not base64; the detail names the character and its offset."""

    reason = "INVALID_BASE64"
    title = "The image is not valid base64"


class InvalidHeader(InvalidRequest):
    """A header has a value that it cannot have."""

    reason = "INVALID_HEADER"
    title = "A header is not valid"


class ParameterMissing(InvalidRequest):
    """A call by TorchServe's protocol lacks a parameter that it must have."""

    reason = "PARAMETER_MISSING"
    title = "A parameter is missing"


class UnknownOption(InvalidRequest):
    """An option by a name that no release has."""

    reason = "UNKNOWN_OPTION"
    title = "The option is unknown"


class OptionOutOfRange(InvalidRequest):
    """An option whose value is not a number or lies outside its range."""

    reason = "OPTION_OUT_OF_RANGE"
    title = "The option is out of range"


class UnsupportedContentType(InvalidRequest):
    """A body that claims to be something /predict does not take."""

    http_status = 415
    reason = "UNSUPPORTED_CONTENT_TYPE"
    title = "The Content-Type is not accepted"


class UnsupportedContentEncoding(InvalidRequest):
    """A body that is compressed in a way that is not accepted.

    Attributes:
        accepted: What is, as Accept-Encoding says it.
    """

    http_status = 415
    reason = "UNSUPPORTED_CONTENT_ENCODING"
    title = "The Content-Encoding is not accepted"
    accepted = "gzip, deflate, identity"


class UnsupportedImageFormat(InvalidRequest):
    """Bytes that are no picture, or one in a format that is not accepted."""

    http_status = 415
    reason = "UNSUPPORTED_IMAGE_FORMAT"
    title = "The image is not in an accepted format"


class BrokenImage(InvalidRequest):
    """A picture in an accepted format that cannot be decoded: truncated or corrupt."""

    http_status = 422
    reason = "BROKEN_IMAGE"
    title = "The image is broken"


class InvalidInput(InvalidRequest):
    """A model's input that its schema does not allow; `field` is the path of the member at fault."""

    http_status = 422
    reason = "INVALID_INPUT"
    title = "The input is not valid"


class BodyTooSlow(InvalidRequest):
    """The body of the request did not arrive within its time."""

    http_status = 408
    reason = "BODY_TOO_SLOW"
    title = "The request body came too slowly"


class HeadTooSlow(InvalidRequest):
    """The head of an HTTP request did not arrive within its time."""

    http_status = 408
    reason = "HEAD_TOO_SLOW"
    title = "The request head came too slowly"


class HeadTooLarge(InvalidRequest):
    """The head of an HTTP request is longer than accepted, or has too many fields or too long ones."""

    http_status = 431
    reason = "HEAD_TOO_LARGE"
    title = "The request head is too large"


class RequestLineTooLong(InvalidRequest):
    """The first line of an HTTP request, with its path and query, is longer than accepted."""

    http_status = 414
    reason = "REQUEST_LINE_TOO_LONG"
    title = "The request line is too long"


class UnsupportedTransferCoding(InvalidRequest):
    """The body of an HTTP request is in a transfer coding other than chunked."""

    http_status = 501
    reason = "UNSUPPORTED_TRANSFER_CODING"
    title = "The transfer coding is not accepted"


class UnsupportedHttpVersion(InvalidRequest):
    """The request is of a version of HTTP other than 1.0 and 1.1."""

    http_status = 505
    reason = "UNSUPPORTED_HTTP_VERSION"
    title = "The version of HTTP is not accepted"


class PayloadTooLarge(InvalidRequest):
    """A limit was exceeded. The detail names the limit, what came, and what to change."""

    http_status = 413


class ImageTooLarge(PayloadTooLarge):
    """More bytes of encoded image than the limit."""

    reason = "IMAGE_TOO_LARGE"
    title = "The image has too many bytes"


class TooManyPixels(PayloadTooLarge):
    """More pixels than the limit, by the picture's own header."""

    reason = "TOO_MANY_PIXELS"
    title = "The image has too many pixels"


class PyramidTooLarge(PayloadTooLarge):
    """The picture at this min_face_size would be scanned over too large an area."""

    reason = "PYRAMID_TOO_LARGE"
    title = "The image pyramid is too large"


class TooManyCandidates(PayloadTooLarge):
    """A stage found more candidates than may enter non-maximum suppression."""

    reason = "TOO_MANY_CANDIDATES"
    title = "The detector found too many candidates"


class BodyTooLarge(PayloadTooLarge):
    """The body of an HTTP request is longer than any acceptable image makes it, or a batch has too much."""

    reason = "BODY_TOO_LARGE"
    title = "The request body is too large"


class BatchAnswerTooLarge(PayloadTooLarge):
    """The answers of a batch are too large for one JSON document; line by line they could be sent."""

    reason = "BATCH_ANSWER_TOO_LARGE"
    title = "The answer of the batch is too large for one document"


class MessageTooLarge(FacetError):
    """A gRPC message over the transport's own limit, which the transport refused."""

    code = Code.RESOURCE_EXHAUSTED
    http_status = 413
    reason = "MESSAGE_TOO_LARGE"
    title = "The message is too large"
