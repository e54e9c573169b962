"""What becomes of each key of a configuration."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from inference_server.models.triton.rules import RULES, Judgement, Rule

Verdict = Literal["taken", "ignored", "refused"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What becomes of a key.

    Attributes:
        key: With its path, such as `input[0].dims`.
        verdict: Nothing is imported where a key is refused.
        reason: In a few words.
    """

    key: str
    verdict: Verdict
    reason: str


def find(config: Any) -> Iterator[Finding]:  # noqa: ANN401 - a message whose class is made at run time
    """A finding for each key that is set, by the rules alone; graphs are not looked at."""
    yield from _of_message(config, "", "")


def _of_message(message: Any, key: str, rule: str) -> Iterator[Finding]:  # noqa: ANN401
    """Findings of the members of a message.

    Args:
        message: Part of a configuration.
        key: Its path, with indices; empty for the whole.
        rule: Its path without them.
    """
    fields = message.ListFields()
    if key and not fields:
        yield Finding(key, "taken", "with the defaults of what it can have")
    for field, value in fields:
        path, name = _joined(key, field.name), _joined(rule, field.name)
        if name in RULES:
            yield _judge(path, RULES[name], value)
        elif field.is_repeated:
            for number, one in enumerate(value):
                yield from _of_message(one, f"{path}[{number}]", name)
        else:
            yield from _of_message(value, path, name)


def _judge(key: str, rule: Rule, value: Any) -> Finding:  # noqa: ANN401
    judgement: Judgement = rule(value) if callable(rule) else rule
    return Finding(key, *judgement)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
