"""docs/logs.md is complete: an operator who meets a line finds it there."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.processes import ROOT

_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
PAGE = (ROOT / "docs" / "logs.md").read_text()


def messages() -> Iterator[str]:
    """What the code of both processes logs, as it stands there."""
    for folder in ("cli", "facet_serving", "gateway", "inference_server", "utils"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(
                        func=ast.Attribute(attr=method, value=ast.Name(id="logger" | "_log")),
                        args=[ast.Constant(value=str(text)), *_],
                    ) if method in _LEVELS:
                        yield text


def test_some_messages_are_found() -> None:
    """Or else the next test would look at nothing."""
    assert len(set(messages())) > 25


@pytest.mark.parametrize("message", sorted(set(messages())))
def test_every_log_message_is_documented(message: str) -> None:
    """With its level, its fields and what to do."""
    assert f"`{message}`" in PAGE
