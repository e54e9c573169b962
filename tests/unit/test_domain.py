"""Rules of the domain types."""

import math

import pytest

from utils.domain import DetectOptions
from utils.errors import OptionOutOfRange


def test_the_default_options_are_those_of_the_reference_package() -> None:
    """Who asks for nothing gets what mtcnn 1.0.0 does."""
    options = DetectOptions()
    assert (options.min_face_size, options.max_faces) == (20, None)
    assert (options.threshold_proposal, options.threshold_refine, options.threshold_output) == (0.6, 0.7, 0.8)


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        (
            "min_face_size",
            [10, 10.0, 24.5, 2000],
            [9.99, 2000.1, 0, math.nan, math.inf, True, "20", None],
        ),
        ("threshold_proposal", [0.1, 0.6, 1], [0.09, 0, 1.01, math.nan, "0.6", None]),
        ("threshold_refine", [0, 0.7, 1], [-0.01, 1.01, math.nan, [], None]),
        ("threshold_output", [0, 0.8, 1], [-0.01, 1.01, math.inf, {}, None]),
        ("max_faces", [None, 1, 1000], [0, 1001, -1, 1.0, True, "1"]),
    ],
)
def test_an_option_is_a_number_in_its_range(name: str, accepted: list[object], refused: list[object]) -> None:
    """Bounds are accepted, what lies outside them or is no number is refused by name."""
    for value in accepted:
        assert getattr(DetectOptions(**{name: value}), name) == value  # type: ignore[arg-type]
    for value in refused:
        with pytest.raises(OptionOutOfRange) as caught:
            DetectOptions(**{name: value})  # type: ignore[arg-type]
        assert caught.value.field == f"options.{name}"
        assert repr(value) in caught.value.detail
        assert "accepted" in caught.value.detail
