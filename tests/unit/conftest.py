"""What the tests of dispatch and of the gateway stand on."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from inference_server.dispatch import batch_consumer, consumer, progress
from tests.support.dispatch import Clock, Machine
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.gateway_forms import LIMIT


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Three slots; everything closed afterwards."""
    made = Machine(3)
    yield made
    made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By which consumers go."""
    made = Clock()
    for module in (consumer, batch_consumer, progress):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def backend() -> FakeBackend:
    """A backend that answers."""
    return FakeBackend()


@pytest.fixture
def client(backend: FakeBackend) -> FlaskClient:
    """The gateway before it, with a small limit of images."""
    return app_for(backend, FACET_MAX_IMAGE_BYTES=str(LIMIT)).test_client()
