"""MTCNN: a pyramid of the picture, proposals, refinement, output.

The order of operations is that of mtcnn 1.0.0 (`mtcnn/mtcnn.py`, `mtcnn/stages/*.py`), whose detections
this gives at its default parameters. With other parameters it gives those that are right (see `scales`),
where the package finds nothing. The method is that of Zhang et al., "Joint Face Detection and Alignment
using Multi-task Cascaded Convolutional Networks", IEEE Signal Processing Letters 23 (2016).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from inference_server.detector.boxes import boxes_of_cells, clipped, placed, regressed, squared
from inference_server.detector.engine import Boxes, Checkpoint, Engine, Floats, Image, Prepared, no_checkpoint
from inference_server.detector.nms import Indices, Suppress, by_score
from inference_server.detector.nms import suppress as suppress_in_numpy
from inference_server.detector.scales import pyramid_scales
from utils.domain import Box, DetectOptions, Face, Landmarks, ModelInfo, Point
from utils.errors import TooManyCandidates

# Overlaps above which the lesser box goes: the package's defaults nms_pnet1, nms_pnet2, nms_rnet, nms_onet.
_OVERLAP_IN_LEVEL = 0.5
_OVERLAP = 0.7

_CHUNK = 256


class Detector:
    """Finds faces. One instance serves one thread.

    Args:
        engine: What computes the networks.
        max_candidates: Most boxes that may enter one round of suppression, whose cost may grow with their
            square.
        suppress: Non-maximum suppression; any that gives what `nms.suppress` gives.
    """

    def __init__(self, engine: Engine, max_candidates: int, suppress: Suppress = suppress_in_numpy) -> None:
        self.model = ModelInfo(name="mtcnn", version="1.0.0", engine=engine.name)
        self._engine = engine
        self._max_candidates = max_candidates
        self._suppress = suppress

    def detect(
        self,
        image: Image,
        options: DetectOptions = DetectOptions(),
        checkpoint: Checkpoint = no_checkpoint,
    ) -> tuple[Face, ...]:
        """Find the faces of a picture, most confident first.

        Rounding a face's coordinates, or the width and height of its box, half to even gives the integers
        that the package gives; they are exact in float32. Faces of equal confidence come in the
        reference's order on the same machine (see `nms.by_score`).

        Args:
            image: uint8 (height, width, 3), RGB, upright, C-contiguous, of any size from 1 x 1 on.
            options: What to look for.
            checkpoint: Called between the levels of the pyramid, between chunks of at most 256 crops, and
                while many boxes are compared. What it raises ends the detection and goes to the caller.

        Returns:
            The faces, none where there is none, `options.max_faces` at most. Coordinates are pixels of the
            picture; boxes are clipped to it, landmarks are not. Confidences are above
            `options.threshold_output` and at most 1.

        Raises:
            TooManyCandidates: A round of suppression would have more boxes than `max_candidates`.
            TypeError, ValueError: The picture is no such array, where the engine looks at that.
        """
        prepared = self._engine.prepare(image, checkpoint)
        boxes = self._propose(prepared, image, options, checkpoint)
        boxes = self._refine(prepared, boxes, options, checkpoint)
        boxes, scores, landmarks = self._output(prepared, boxes, options, checkpoint)
        height, width = image.shape[:2]
        columns = (clipped(boxes, width, height), scores, landmarks)
        # Numbers of Python's own, made once for all faces: those of NumPy are slow one by one.
        faces = zip(*(column[: options.max_faces].tolist() for column in columns), strict=True)
        return tuple(_face(*face) for face in faces)

    def _propose(
        self, prepared: Prepared, image: Image, options: DetectOptions, checkpoint: Checkpoint
    ) -> Boxes:
        """Squares around what might be faces, from all levels of the pyramid."""
        boxes, scores = [np.empty((0, 4))], [np.empty(0, np.float32)]
        height, width = image.shape[:2]
        total = 0
        for scale in pyramid_scales(width, height, options.min_face_size):
            checkpoint()
            cells, level_scores, regressions = prepared.propose(scale, options.threshold_proposal)
            self._check(len(cells), options)
            order = by_score(level_scores)
            level_boxes = boxes_of_cells(cells, regressions, scale).take(order, axis=0)
            kept = self._suppress(level_boxes, _OVERLAP_IN_LEVEL, checkpoint=checkpoint)
            total += len(kept)
            self._check(total, options)
            boxes.append(level_boxes.take(kept, axis=0))
            scores.append(level_scores.take(order.take(kept)))
        merged = np.concatenate(boxes).take(by_score(np.concatenate(scores)), axis=0)
        return squared(merged.take(self._suppress(merged, _OVERLAP, checkpoint=checkpoint), axis=0))

    def _refine(
        self, prepared: Prepared, boxes: Boxes, options: DetectOptions, checkpoint: Checkpoint
    ) -> Boxes:
        """Squares around what the refinement network takes for faces; boxes are moved before suppression."""
        seen = [prepared.refine(chunk) for chunk in _chunks(boxes, checkpoint)]
        scores, regressions = _joined(seen, (), (4,))
        passed = _above(scores, options.threshold_refine)
        order = passed.take(by_score(scores.take(passed)))
        boxes = regressed(boxes.take(order, axis=0), regressions.take(order, axis=0))
        return squared(boxes.take(self._suppress(boxes, _OVERLAP, checkpoint=checkpoint), axis=0))

    def _output(
        self, prepared: Prepared, boxes: Boxes, options: DetectOptions, checkpoint: Checkpoint
    ) -> tuple[Boxes, Floats, Floats]:
        """Boxes, scores and landmarks (N, 10) of the faces, best first."""
        seen = [prepared.output(chunk) for chunk in _chunks(boxes, checkpoint)]
        scores, regressions, landmarks = _joined(seen, (), (4,), (10,))
        passed = _above(scores, options.threshold_output)
        order = passed.take(by_score(scores.take(passed)))
        squares, landmarks = boxes.take(order, axis=0), landmarks.take(order, axis=0)
        boxes = regressed(squares, regressions.take(order, axis=0))
        kept = self._suppress(boxes, _OVERLAP, of_smaller=True, checkpoint=checkpoint)
        landmarks = placed(landmarks.take(kept, axis=0), squares.take(kept, axis=0))
        return boxes.take(kept, axis=0), scores.take(order.take(kept)), landmarks

    def _check(self, count: int, options: DetectOptions) -> None:
        """Refuse more candidates than may be compared; leaving some out would be a wrong answer.

        Later rounds of suppression have no more boxes than the last of this stage leaves.
        """
        if count > self._max_candidates:
            raise TooManyCandidates(
                f"the proposal stage found {count} candidates or more at options.threshold_proposal "
                f"{options.threshold_proposal:g}; the limit is {self._max_candidates}; raise "
                "options.threshold_proposal or options.min_face_size",
                field="options.threshold_proposal",
            )


def _chunks(boxes: Boxes, checkpoint: Checkpoint) -> Iterator[Boxes]:
    for start in range(0, len(boxes), _CHUNK):
        checkpoint()
        yield boxes[start : start + _CHUNK]


def _joined(seen: Sequence[tuple[Floats, ...]], *shapes: tuple[int, ...]) -> list[Floats]:
    """What a network said of all chunks, by output; `shapes` are those of one box."""
    nothing = tuple(np.empty((0, *shape), np.float32) for shape in shapes)
    return [np.concatenate(parts) for parts in zip(nothing, *seen, strict=True)]


def _above(scores: Floats, threshold: float) -> Indices:
    """Which scores exceed the threshold, compared in float64, as the reference does from here on."""
    return np.flatnonzero(scores.astype(np.float64) > threshold)


def _face(box: Sequence[float], score: float, landmarks: Sequence[float]) -> Face:
    x1, y1, x2, y2 = box
    points = map(Point, landmarks[:5], landmarks[5:])
    return Face(Box(Point(x1, y1), Point(x2, y2)), Landmarks(*points), score)
