"""What the tests of dispatch stand on."""

from collections.abc import Iterator

import pytest

from inference_server.dispatch import consumer
from tests.support.dispatch import Clock, Machine


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
    monkeypatch.setattr(consumer, "time", made)
    return made
