"""What the tests of the gateway as a process stand on."""

from collections.abc import Iterator

import pytest

from tests.support import gateway_process
from tests.support.fake_backend import Backend, echo, fake_backend
from tests.support.gateway_process import Gateway


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    """One backend for all tests of a module that need none of their own."""
    with fake_backend() as serving:
        yield serving


@pytest.fixture(scope="module")
def gateway(backend: Backend, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """One gateway before it, with the module's SETTINGS."""
    with gateway_process.gateway(backend.target, **getattr(request.module, "SETTINGS", {})) as running:
        yield running


@pytest.fixture
def holding(backend: Backend) -> Iterator[Backend]:
    """The backend, which answers nothing until its `held` is set, and later answers as ever."""
    backend.held.clear()
    backend.cancelled.clear()
    while backend.began.acquire(blocking=False):
        pass
    backend.answer = backend.hold
    yield backend
    backend.held.set()
    backend.answer = echo
