"""The multipart form of a /predict/batch request: options first, then files, each a picture of its own."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from gateway.forms.compression import require_identity
from gateway.forms.hints import batch_line, refuse_reference
from gateway.forms.members import unique
from gateway.forms.multipart_form import (
    FIELDS,
    LONGEST_REFERENCE,
    LONGEST_TEXT,
    MAX_PARTS,
    joined,
    request_with,
)
from gateway.forms.parts import Part, boundary_of, read_parts
from utils.domain import DetectRequest, checked_image, image_too_large
from utils.errors import BodyTooLarge, ImageMissing, MalformedRequest, UnsupportedContentType, shown

_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture of a batch whose bytes are still to be read, before those of the next one.

    Attributes:
        index: Its place among the files.
        name: Of the file.
        content: Its bytes in any number of pieces.
        most_bytes: That it may have.
        without_image: The request for it, but for its image.
    """

    index: int
    name: str
    content: Iterator[bytes]
    most_bytes: int
    without_image: DetectRequest

    def read(self, before: Callable[[int], None]) -> DetectRequest:
        """The request for it.

        Args:
            before: Called with the number of bytes that are about to be kept.

        Raises:
            ImageEmpty: It has no bytes.
            ImageTooLarge: It has too many, which were passed over.
        """
        pieces: list[bytes] = []
        size = 0
        for piece in self.content:
            size += len(piece)
            if size > self.most_bytes:
                pieces.clear()
                continue
            before(len(piece))
            pieces.append(piece)
        if size > self.most_bytes:
            raise image_too_large(str(size), self.most_bytes)
        image = checked_image(b"".join(pieces), self.most_bytes)
        return replace(self.without_image, image=image)


@dataclass(frozen=True, slots=True)
class BatchForm:
    """How to read the body of a batch.

    Attributes:
        boundary: Between its parts.
        query: The query string, which may have options, too.
        max_items: How many files it may have.
        max_image_bytes: Of each of them.
        host: Gives the host that was asked.
    """

    boundary: bytes
    query: str
    max_items: int
    max_image_bytes: int
    host: Callable[[], str]

    def pictures(self, pieces: Iterator[bytes]) -> Iterator[PictureFile]:
        """The pictures of a body that comes in pieces, which are taken to the end.

        Raises:
            MalformedRequest: It cannot be taken apart, an option comes twice, or after a picture.
            UnknownOption, OptionOutOfRange: What is wrong with the options.
            ImageMissing: There is no picture.
            BodyTooLarge: There are too many.
        """
        fields: list[tuple[str, bytes]] = []
        without_image: DetectRequest | None = None
        index = 0
        for part in read_parts(pieces, self.boundary, MAX_PARTS + self.max_items):
            if part.file_name is None or part.name in FIELDS:
                if without_image is not None:
                    raise MalformedRequest(
                        f"{shown(part.name)!r} comes after a file; options come before all files",
                        field=shown(part.name),
                    )
                fields.append((part.name, self._text(part, fields)))
                continue
            if without_image is None:
                without_image = self._request(fields)
            if index == self.max_items:
                raise BodyTooLarge(
                    f"The batch has more files than are accepted: {self.max_items} (FACET_MAX_BATCH_ITEMS). "
                    "Send the others in another one."
                )
            name = part.file_name[:_LONGEST_NAME]
            yield PictureFile(index, name, part.content, self.max_image_bytes, without_image)
            index += 1
        for _ in pieces:  # what follows the last boundary
            pass
        if without_image is None:
            self._request(fields)
            raise ImageMissing(f"There is no file in the batch. Try: {batch_line(self.host())}")

    def _request(self, fields: Iterable[tuple[str, bytes]]) -> DetectRequest:
        return request_with(b"", self.query, unique(fields, joined))

    def _text(self, part: Part, fields: list[tuple[str, bytes]]) -> bytes:
        """The content of a part that is no picture."""
        room = LONGEST_TEXT - sum(len(value) for _, value in fields)
        text = b""
        for piece in part.content:
            text += piece
            if len(text) > room:
                raise MalformedRequest(
                    f"{shown(part.name)!r} makes the options longer than {LONGEST_TEXT} bytes",
                    field=shown(part.name),
                )
        if part.name not in FIELDS:
            refuse_reference(text[:LONGEST_REFERENCE].decode(errors="replace"), self.host)
        return text


def batch_form(
    content_type: str | None,
    content_encoding: str | None,
    query: str,
    host: Callable[[], str],
    *,
    max_items: int,
    max_image_bytes: int,
) -> BatchForm:
    """How to read a batch under these headers.

    Raises:
        UnsupportedContentType: It is no multipart form.
        UnsupportedContentEncoding: It is compressed.
        MalformedRequest: Its boundary is not named.
    """
    mimetype = (content_type or "").partition(";")[0].strip().lower()
    if content_type is None or mimetype != "multipart/form-data":
        came = "missing" if content_type is None else repr(shown(content_type))
        raise UnsupportedContentType(
            f"Content-Type is {came}; accepted: multipart/form-data. Try: {batch_line(host())}",
            field="Content-Type",
        )
    require_identity(content_encoding)
    return BatchForm(boundary_of(content_type), query, max_items, max_image_bytes, host)
