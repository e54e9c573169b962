"""What every form of a body has: a limit, and a way to be read."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.forms.compression import Coding, coding_of, uncompress
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
        UnsupportedContentEncoding: It is compressed in a way that is not accepted.
    """
    coding = coding_of(content_encoding)
    if coding is None:
        return form
    # Compression adds to what it cannot compress.
    return _Compressed(form.limit + form.limit // 1024 + 1024, form, coding)


@dataclass(frozen=True, slots=True)
class _Compressed(InputForm[T_co]):
    content: InputForm[T_co]
    coding: Coding

    def too_large(self, actual: str) -> PayloadTooLarge:
        return self.content.too_large(f"{actual} compressed")

    def parse(self, body: bytes, query: str) -> T_co:
        content = uncompress(body, self.coding, self.content.limit, self.content.too_large)
        return self.content.parse(content, query)
