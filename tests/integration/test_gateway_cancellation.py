"""Rules of giving up a call from another thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import processes
from tests.support.fake_backend import Backend, failing, fake_backend
from utils.cancellation import Cancellation
from utils.errors import BackendUnavailable, BrokenImage, Cancelled, DeadlineExceeded
from utils.service_client import ServiceClient


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A backend of its own for each test."""
    with fake_backend() as serving:
        yield serving


@pytest.fixture
def client(backend: Backend) -> Iterator[ServiceClient]:
    """A client of it."""
    with ServiceClient(backend.target) as client:
        yield client


def test_a_call_that_is_given_up_ends_on_both_sides(backend: Backend, client: ServiceClient) -> None:
    """The caller's thread goes on, and the backend is told."""
    backend.answer = backend.hold
    cancellation = Cancellation()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.detect, b"x", timeout=600, cancellation=cancellation)
        assert backend.began.acquire(timeout=processes.PATIENCE)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            call.result(processes.PATIENCE)
    assert backend.cancelled.wait(processes.PATIENCE)


def test_a_call_that_was_given_up_before_it_began_does_not_wait(client: ServiceClient) -> None:
    """Whoever left while the body was read gets no detection."""
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        client.detect(b"x", cancellation=cancellation)


def test_giving_up_an_ended_call_does_nothing(client: ServiceClient) -> None:
    """The answer stays what it was."""
    cancellation = Cancellation()
    assert client.detect(b"xyz", cancellation=cancellation).image.width == 3
    cancellation.cancel()


def test_a_call_that_can_be_given_up_fails_like_any_other(backend: Backend, client: ServiceClient) -> None:
    """With the backend's error, its deadline, or nobody there."""
    backend.answer = failing(BrokenImage("Cut off.", field="image"))
    with pytest.raises(BrokenImage, match="Cut off") as caught:
        client.detect(b"x", cancellation=Cancellation())
    assert caught.value.field == "image"
    backend.answer = backend.hold
    with pytest.raises(DeadlineExceeded):
        client.detect(b"x", timeout=0.1, cancellation=Cancellation())
    with ServiceClient("127.0.0.1:1") as lonely, pytest.raises(BackendUnavailable):
        lonely.detect(b"x", timeout=5, cancellation=Cancellation())


def test_a_call_that_can_be_given_up_is_retried_like_any_other(
    backend: Backend, client: ServiceClient
) -> None:
    """A picture of a megabyte, too."""
    backend.answer = failing(BackendUnavailable("Going away."), times=2)
    assert client.detect(bytes(10**6), cancellation=Cancellation()).image.width == 10**6
    assert len(backend.calls) == 3
