"""docs/security.md: its table is what the tests say."""

import ast

import pytest

from scripts.document_security import ENDPOINTS, ROOT, InvalidMark, Row, page, rows_of, table

TWO = """
import pytest

@pytest.mark.security(endpoint="gateway", attack="A " "flood", outcome="429")
@pytest.mark.parametrize("count", [1, 2])
def test_one(count): ...

@pytest.mark.security(endpoint="grpc", attack="A flood", outcome="Refused")
@pytest.mark.security(endpoint="oip", attack="A flood", outcome="Refused")
async def test_other(): ...
"""


def test_each_mark_is_a_row() -> None:
    """Whatever parameters its test has; a test may have several."""
    assert list(rows_of(TWO, "tests/test_x.py")) == [
        Row("gateway", "A flood", "429", "tests/test_x.py", "test_one"),
        Row("grpc", "A flood", "Refused", "tests/test_x.py", "test_other"),
        Row("oip", "A flood", "Refused", "tests/test_x.py", "test_other"),
    ]


def test_rows_stand_below_their_endpoint_with_a_link_to_their_test() -> None:
    """In the order of the endpoints; one without rows is left out."""
    told = table(reversed(list(rows_of(TWO, "tests/test_x.py"))))
    titles = [line.removeprefix("### ") for line in told.splitlines() if line.startswith("###")]
    assert titles == [ENDPOINTS["gateway"], ENDPOINTS["grpc"], ENDPOINTS["oip"]]
    assert "| A flood | 429 | [test_one](../tests/test_x.py) |" in told.splitlines()


@pytest.mark.parametrize(
    "mark",
    [
        'endpoint="gateway", attack="x"',
        'endpoint="gateway", attack="x", outcome="x", more="x"',
        'attack="x", endpoint="gateway", outcome="x"',
        'endpoint="door", attack="x", outcome="x"',
        'endpoint="gateway", attack=TEXT, outcome="x"',
        'endpoint="gateway", attack="a | b", outcome="x"',
        '"gateway", attack="x", outcome="x"',
    ],
)
def test_a_mark_that_is_no_row_is_refused(mark: str) -> None:
    """By the name of its test."""
    text = f"@pytest.mark.security({mark})\ndef test_one(): ..."
    with pytest.raises(InvalidMark, match=r"tests/test_x\.py, test_one: "):
        list(rows_of(text, "tests/test_x.py"))


def test_the_page_has_every_mark() -> None:
    """And is as the tests are now."""
    assert (ROOT / "docs" / "security.md").read_text() == page()
    marks = [
        node
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.security"
    ]
    assert page().count("](../tests/") == len(marks) > 150
