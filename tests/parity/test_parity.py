"""Every engine finds what the untouched package finds, at default parameters."""

import pytest

from tests.parity import corpus
from tests.parity.comparison import compare, explain
from tests.parity.engines import ENGINES, detector, share_of
from tests.parity.report import Report

# A comparison may have to compute the reference's side first, a minute and a half on one core.
pytestmark = pytest.mark.timeout(600)

PICTURES = {"composites": corpus.composites, "photographs": corpus.photographs}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine."""
    return str(request.param)


@pytest.fixture(scope="module", params=PICTURES)
def report(request: pytest.FixtureRequest, engine: str, reports: list[Report]) -> Report:
    """One engine on one set of pictures."""
    names = share_of(engine, PICTURES[request.param]())
    if not names:
        pytest.skip("PHOTOS_DIR names no folder of photographs")
    pairs = compare(detector(engine), names)
    report = Report(engine, request.param, pairs, explain(detector(engine), pairs))
    reports.append(report)
    return report


def test_there_are_as_many_faces_as_the_reference_finds(report: Report) -> None:
    """A count may differ only where rounding of the reference's own scores explains it."""
    unequal = [pair.name for pair in report.pairs if not pair.same_count]
    assert [name for name in unequal if report.exceptions[name] is None] == []


def test_boxes_landmarks_and_order_are_the_references_after_rounding(report: Report) -> None:
    """In all pictures but one in a hundred, or one; those must be explained."""
    unequal = len(report.pairs) - report.equal_rounded
    assert unequal <= max(1, 0.01 * len(report.pairs)), "\n".join(report.lines())


def test_every_other_picture_is_explained_by_rounding_of_scores(report: Report) -> None:
    """With the order and the thresholds decided as in the reference, its integers are found there, too."""
    assert [name for name, reason in report.exceptions.items() if reason is None] == []


def test_the_composites_show_faces() -> None:
    """The composites test what they are for: they are not empty pictures on which all agree."""
    faces = {name: len(detector().detect(corpus.picture(name))) for name in corpus.composites()}
    assert faces["crowd of small faces"] >= 50
    assert faces["crowd of middling faces"] >= 20
    assert all(faces[name] >= 1 for name in faces if name.startswith(("face of", "orientation")))


def test_no_photograph_is_left_out() -> None:
    """A complete folder has 441 photographs of up to 6 megapixels."""
    if corpus.photos_dir() is None:
        pytest.skip("PHOTOS_DIR names no folder of photographs")
    assert len(corpus.photographs()) == corpus.PHOTOGRAPHS
