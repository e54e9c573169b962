"""Face detection: what a request costs, for admission, and its computation in the consumer thread."""

import logging
import time
from dataclasses import asdict
from typing import NamedTuple, Protocol, Self

from inference_server import images
from inference_server.detector.choice import Choice, EngineUnavailable, choose
from inference_server.detector.engine import Image
from inference_server.detector.factory import SelfTestFailed, create_detector, self_test
from inference_server.detector.scales import check_pyramid
from inference_server.detector.weights import WeightsError
from inference_server.dispatch.consumer import Checkpoint, Outcome
from inference_server.dispatch.request_buffer import Abandoned
from inference_server.dispatch.work import Work
from inference_server.models.encoding import pack_answer, pack_error, unpack_context
from inference_server.models.extras.computing import Extras, compute, cost_of_extras
from protos import infer_pb2 as pb
from utils import codec
from utils.domain import Detection, DetectOptions, Face, ImageInfo, ModelInfo, Timings
from utils.errors import AnswerTooLarge, FacetError, InternalError
from utils.extras import Wanted
from utils.extras_codec import decode_wanted
from utils.logs import fields
from utils.settings import Settings

logger = logging.getLogger(__name__)

_DEFAULT_OPTIONS = DetectOptions()

_DECODING = 0.15
"""What a pixel costs to decode beside one to search: 6.7 ms a megapixel (150 megapixels a second, as in
inference_server/images/decoding.py) over the 45 ms of the proposal network (`make bench NAME=roofline`)."""
_FIXED_COST = 0.05
"""What a picture costs however small it is, as if it were pixels to search."""


class FaceDetector(Protocol):
    """The part of inference_server.detector.pipeline.Detector that is used here."""

    @property
    def model(self) -> ModelInfo:
        """What finds the faces."""

    def detect(self, image: Image, options: DetectOptions, checkpoint: Checkpoint) -> tuple[Face, ...]:
        """Find the faces of an upright RGB picture, most confident first."""


class Examined(NamedTuple):
    """What a request amounts to.

    Attributes:
        parameters: Of the request's context, for `FaceDetection.handle`.
        cost: Megapixels to search, with decoding counted as such.
        grace: Seconds at the beginning of the computation in which it may show no progress.
        log_fields: Of the request's log line.
    """

    parameters: bytes
    cost: float
    grace: float
    log_fields: dict[str, object]


class FaceDetection:
    """The model that every worker hosts.

    `examine` is for the event loop, `handle` for the consumer thread.

    Args:
        detector: Finds the faces.
        choice: Of the engine, and why.
        settings: For the limits of pictures.
    """

    name = "face_detection"
    operation = "detect"
    queue = 0
    permanent_errors = (EngineUnavailable, WeightsError, SelfTestFailed)
    """What `build` raises that every other worker would meet, too."""

    def __init__(self, detector: FaceDetector, choice: Choice, settings: Settings) -> None:
        self.detector = detector
        self.choice = choice
        self._max_bytes = settings.max_image_bytes
        self._max_pixels = settings.max_image_pixels
        self._formats = settings.image_formats
        self._max_answer_bytes = settings.max_answer_bytes

    @classmethod
    def build(cls, settings: Settings) -> Self:
        """Choose and load the engine, and find the face in the built-in picture.

        Raises:
            EngineUnavailable: The engine or the instruction set that was named cannot run here.
            WeightsError: The models are missing or damaged.
            SelfTestFailed: Not exactly that face was found.
        """
        images.load_decoders()
        choice = choose(settings.engine, settings.native_isa)
        detector = create_detector(choice, settings.cache_dir, settings.max_candidates)
        self_test(detector)
        return cls(detector, choice, settings)

    def examine(self, message: pb.Image, image: bytes) -> Examined:
        """Refuse by options and header what would be refused later, and say what the rest costs.

        Args:
            message: The request.
            image: Its `raw_data`, of which each look makes a copy.

        Raises:
            OptionOutOfRange, ImageEmpty, ImageTooLarge, UnsupportedImageFormat, BrokenImage, TooManyPixels,
            PyramidTooLarge: See there.
        """
        options = message.options
        codec.check_options(options)
        asked = pb.Image(options=options)
        wanted = Wanted()
        if message.HasField("wanted"):
            asked.wanted.CopyFrom(message.wanted)
            wanted = decode_wanted(message.wanted)
        asked.DiscardUnknownFields()  # which would wait with the request, uncounted
        header = images.inspect(image, self._max_bytes, self._max_pixels, self._formats)
        size = options.min_face_size if options.HasField("min_face_size") else _DEFAULT_OPTIONS.min_face_size
        searched = check_pyramid(header.width, header.height, size, self._max_pixels)
        cost = cost_of(header.pixels, searched)
        if not wanted.is_nothing:
            cost += cost_of_extras(wanted, header.width, header.height, options.max_faces)
        return Examined(
            parameters=asked.SerializeToString(),
            cost=cost,
            grace=header.decode_seconds,
            log_fields={"format": header.format, "width": header.width, "height": header.height},
        )

    def handle(self, work: Work, checkpoint: Checkpoint) -> Outcome:
        """Compute an answer; whatever fails is an answer too.

        Raises:
            Abandoned: Nobody wants it any more.
        """
        names: dict[str, str | None] = {}
        try:
            request_id, traceparent, parameters = unpack_context(work.context)
            names = {"request_id": request_id, "traceparent": traceparent or None}
            asked = pb.Image.FromString(parameters)
            options, wanted = codec.decode_options(asked.options), decode_wanted(asked.wanted)
            detection = self._detect(work, options, wanted, checkpoint)
            answer = _encoded(detection)
            if not wanted.is_nothing:
                self._check_size(answer)
            return Outcome(answer, complete=True)
        except Abandoned:
            raise
        except FacetError as error:
            return Outcome(pack_error(error), complete=False)
        except Exception:
            logger.exception("detection failed", extra=fields(**names))
            return Outcome(pack_error(InternalError()), complete=False)

    encode_error = staticmethod(pack_error)
    """The answer that tells a caller of an error."""

    def _detect(
        self, work: Work, options: DetectOptions, wanted: Wanted, checkpoint: Checkpoint
    ) -> Detection:
        started = time.monotonic()
        pixels, orientation = images.decode(work.payload, self._max_pixels, self._formats)
        decoded = time.monotonic()
        checkpoint()
        faces = self.detector.detect(pixels, options, checkpoint)
        detected = ended = time.monotonic()
        extras = Extras(faces, None, None)
        if not wanted.is_nothing:
            extras = compute(pixels, faces, wanted, checkpoint)
            ended = time.monotonic()
        return Detection(
            faces=extras.faces,
            image=ImageInfo(pixels.shape[1], pixels.shape[0], orientation),
            model=self.detector.model,
            timings=Timings(
                queue_ms=(started - work.received) * 1000,
                decode_ms=(decoded - started) * 1000,
                detect_ms=(detected - decoded) * 1000,
                total_ms=(ended - work.received) * 1000,
                extras_ms=(ended - detected) * 1000,
            ),
            annotated=extras.annotated,
            crops_omitted=extras.crops_omitted,
        )

    def _check_size(self, answer: bytes) -> None:
        if len(answer) > self._max_answer_bytes:
            raise AnswerTooLarge(
                f"The answer has {len(answer)} bytes; the limit is {self._max_answer_bytes}, the larger one "
                "of FACET_MAX_REQUEST_BYTES and FACET_MAX_IMAGE_BYTES of the backend. Ask for fewer or "
                "smaller crops, or a smaller annotated picture.",
                field="wanted",
            )


def cost_of(pixels: int, searched: int) -> float:
    """The cost of one picture in megapixels to search.

    Args:
        pixels: How many it has.
        searched: How many all levels of its pyramid have: few where only large faces are looked for.
    """
    return (searched + _DECODING * pixels) / 1e6 + _FIXED_COST


def _encoded(detection: Detection) -> bytes:
    message: bytes = codec.encode_detection(detection).SerializeToString()
    times = {name: round(ms, 3) for name, ms in asdict(detection.timings).items() if name != "total_ms"}
    if not times["extras_ms"]:
        del times["extras_ms"]
    return pack_answer(message, {"faces": len(detection.faces), **times})
