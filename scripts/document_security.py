"""Write the table of docs/security.md from the tests. With --check, only say whether it is fresh.

A test is a row of it, or several, by its marks:

    @pytest.mark.security(endpoint="gateway", attack="A head that does not end", outcome="408 after 5 s")
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "security.md"
BEGIN = "<!-- Written by `make docs` from the tests: begin -->\n"
END = "<!-- Written by `make docs` from the tests: end -->\n"

ENDPOINTS = {
    "gateway": "The gateway, over HTTP",
    "nginx": "The gateway behind nginx",
    "balancers": "The gateway behind haproxy and Envoy",
    "grpc": "The backend, over gRPC",
    "torchserve": "TorchServe's protocol",
    "oip": "The Open Inference Protocol",
    "admin-http": "Management and metrics, over HTTP",
    "admin-grpc": "Management, over gRPC",
    "control": "The control socket",
    "pictures": "Pictures",
    "models": "Inputs, outputs and schemas of models",
    "files": "Files and paths",
    "keys": "Keys and tokens",
    "tls": "TLS",
    "processes": "Processes and addresses",
}
"""Titles of the parts of the table, in their order, by what a mark names as its endpoint."""

_HEAD = "| what was tried | what happens | test |\n|---|---|---|\n"
_MEMBERS = ["endpoint", "attack", "outcome"]


class InvalidMark(Exception):
    """A mark that is no row; the message says which and why."""


@dataclass(frozen=True)
class Row:
    """What a mark says, and whose it is; `file` is relative to the repository."""

    endpoint: str
    attack: str
    outcome: str
    file: str
    test: str


def rows_of(text: str, file: str) -> Iterator[Row]:
    """The rows of a test file.

    Args:
        text: Its source.
        file: Its path, relative to the repository.

    Raises:
        InvalidMark: A mark lacks a member, has another one, or one that is no text.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.security":
                    yield Row(**_members(decorator, f"{file}, {node.name}"), file=file, test=node.name)


def _members(mark: ast.Call, where: str) -> dict[str, str]:
    found = {}
    for keyword in mark.keywords:
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if keyword.arg not in _MEMBERS or not isinstance(value, str) or "|" in value:
            raise InvalidMark(f"{where}: {keyword.arg}; accepted: {', '.join(_MEMBERS)}, texts without |")
        found[keyword.arg] = value
    if list(found) != _MEMBERS or mark.args:
        raise InvalidMark(f"{where}: accepted: {', '.join(_MEMBERS)}, in this order")
    if found["endpoint"] not in ENDPOINTS:
        raise InvalidMark(f"{where}: endpoint; accepted: one of {', '.join(ENDPOINTS)}")
    return found


def table(rows: Iterable[Row]) -> str:
    """The parts of the table, each with its title; an endpoint without rows has none."""
    found = list(rows)
    parts = []
    for endpoint, title in ENDPOINTS.items():
        lines = [_line(row) for row in found if row.endpoint == endpoint]
        if lines:
            parts.append(f"\n### {title}\n\n{_HEAD}{''.join(lines)}")
    return "".join(parts) + "\n"


def _line(row: Row) -> str:
    return f"| {row.attack} | {row.outcome} | [{row.test}](../{row.file}) |\n"


def page() -> str:
    """The page's text, with the table as the tests have it now.

    Raises:
        InvalidMark: A test's mark is no row.
        ValueError: The page lacks a comment between which the table belongs.
    """
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    rows = chain.from_iterable(rows_of(path.read_text(), str(path.relative_to(ROOT))) for path in files)
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"docs/security.md lacks a line {BEGIN.strip()} or {END.strip()}")
    return before + begin + table(rows) + end + after


def main() -> int:
    """Write or compare; gives the exit status."""
    try:
        text = page()
    except (InvalidMark, ValueError) as error:
        print(error)
        return 1
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
    elif PAGE.read_text() != text:
        print("docs/security.md is stale. Run `make docs` and commit the result.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
