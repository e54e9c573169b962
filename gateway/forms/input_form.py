"""What every form of a body has: a limit, and a way to be read."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.forms.compression import gunzip, is_gzip
from utils.errors import PayloadTooLarge

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class InputForm(ABC, Generic[T_co]):
    """How to read one kind of body, which may have `limit` bytes."""

    limit: int

    @abstractmethod
    def too_large(self, actual: str) -> PayloadTooLarge:
        """The error for a body that has more; `actual` says how many, in words."""

    @abstractmethod
    def parse(self, body: bytes, query: str) -> T_co:
        """What a body and a query string mean, or a FacetError."""


def under_coding(form: InputForm[T_co], content_encoding: str | None) -> InputForm[T_co]:
    """How to read a body of this form that came under a Content-Encoding.

    Raises:
        UnsupportedContentEncoding: It is compressed by something else than gzip.
    """
    if not is_gzip(content_encoding):
        return form
    # gzip adds to what it cannot compress.
    return _Gzipped(form.limit + form.limit // 1024 + 1024, form)


@dataclass(frozen=True, slots=True)
class _Gzipped(InputForm[T_co]):
    content: InputForm[T_co]

    def too_large(self, actual: str) -> PayloadTooLarge:
        return self.content.too_large(f"{actual} compressed")

    def parse(self, body: bytes, query: str) -> T_co:
        return self.content.parse(gunzip(body, self.content.limit, self.content.too_large), query)
