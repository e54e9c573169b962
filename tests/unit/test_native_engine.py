"""The native engine: it finds what the onnx engine finds, refuses what it cannot read, and loads little."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference_server.detector import weights
from inference_server.detector.choice import EngineUnavailable, choose
from inference_server.detector.convert import convert
from inference_server.detector.factory import create_detector, self_test
from inference_server.detector.pipeline import Detector
from inference_server.detector.scales import level_size
from inference_server.detector.weights import WeightsError, floats_path
from tests.parity.comparison import rows
from tests.parity.engines import detector, models
from tests.support.instruction_sets import instruction_sets
from tests.support.pictures import Pixels, group_photo, portrait
from utils.domain import DetectOptions

facet_native = pytest.importorskip("facet_native", reason="the native engine could not be compiled here")

from inference_server.detector.engine_native import NativeEngine  # noqa: E402 - which needs it

SETS = instruction_sets()


def native(instruction_set: str) -> Detector:
    """A detector on this instruction set."""
    return detector(f"native {instruction_set}")


def drawn(random: np.random.Generator) -> Pixels:
    """A part of a photo, of any size from 1 to 4000 pixels a side; large ones are narrow, to be quick."""
    width = int(np.exp(random.uniform(0, np.log(4000))))
    height = int(np.exp(random.uniform(0, np.log(min(4000, max(2, 400_000 // width))))))
    photo = Image.fromarray(group_photo() if random.random() < 0.5 else portrait())
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR))


def options(random: np.random.Generator) -> DetectOptions:
    """Parameters over their whole ranges, more often near their defaults."""
    return DetectOptions(
        min_face_size=float(np.exp(random.uniform(np.log(10), np.log(200)))),
        threshold_proposal=random.uniform(0.3, 0.95),
        threshold_refine=random.uniform(0.3, 0.95),
        threshold_output=random.uniform(0.3, 0.95),
    )


@pytest.mark.parametrize("seed", range(60))
def test_any_picture_with_any_parameters_gives_what_onnx_gives(seed: int) -> None:
    """As many faces, each within a twentieth of a pixel, by every instruction set."""
    random = np.random.default_rng(seed)
    picture, wanted = drawn(random), options(random)
    expected = rows(detector("onnx").detect(picture, wanted))
    for instruction_set in SETS:
        found = rows(native(instruction_set).detect(picture, wanted))
        assert found.shape == expected.shape
        assert np.abs(found - expected).max(initial=0) < 0.05


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.6, 0.999, 0.9999999, 1.0])
def test_a_score_passes_as_it_does_in_the_reference(instruction_set: str, threshold: float) -> None:
    """By its float32 value, which is exactly 1 for many cells of a clear face; nothing exceeds 1."""
    picture = portrait()
    prepared = NativeEngine(models(), instruction_set).prepare(picture)
    cells, scores, regressions = prepared.propose(0.1, 0.0)
    passed = scores > threshold
    found = prepared.propose(0.1, threshold)
    width, height = level_size(512, 512, 0.1)
    assert len(cells) == (-(-(width - 2) // 2) - 4) * (-(-(height - 2) // 2) - 4)
    assert np.array_equal(found[0], cells[passed])
    assert np.array_equal(found[1], scores[passed])
    assert np.array_equal(found[2], regressions[passed])


def test_scores_saturate_at_one() -> None:
    """Where the onnx engine says exactly 1, so does this one: ties decide boxes."""
    picture = portrait()
    for scale in (0.05, 0.035, 0.025):
        ones = [
            {tuple(cell) for cell, score in zip(*found[:2], strict=True) if score == 1}
            for found in (
                detector("onnx")._engine.prepare(picture).propose(scale, 0.9),
                detector("native")._engine.prepare(picture).propose(scale, 0.9),
            )
        ]
        assert ones[0] == ones[1]


WRONG = {
    "a list": ([[0, 0, 0]], TypeError, "array of uint8"),
    "floats": (np.zeros((20, 20, 3), np.float32), TypeError, "not of float32"),
    "signed": (np.zeros((20, 20, 3), np.int8), TypeError, "not of int8"),
    "grey": (np.zeros((20, 20), np.uint8), ValueError, r"not \(20, 20\)"),
    "four channels": (np.zeros((20, 20, 4), np.uint8), ValueError, r"not \(20, 20, 4\)"),
    "no pixels": (np.zeros((0, 20, 3), np.uint8), ValueError, "at least one pixel"),
    "every other column": (np.zeros((20, 40, 3), np.uint8)[:, ::2], ValueError, "ascontiguousarray"),
    "upside down": (np.zeros((20, 20, 3), np.uint8)[::-1], ValueError, "ascontiguousarray"),
    "Fortran's order": (np.asfortranarray(np.zeros((20, 20, 3), np.uint8)), ValueError, "ascontiguousarray"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_picture_that_cannot_be_read_is_refused_in_words(name: str) -> None:
    """By the engine with a message that says what to pass, and by the extension itself with an error."""
    picture, error, message = WRONG[name]
    engine = NativeEngine(models(), SETS[0])
    with pytest.raises(error, match=message):
        engine.prepare(picture)  # type: ignore[arg-type]
    boxes = np.zeros((1, 4))
    calls: list[tuple[str, tuple[object, ...]]] = [
        ("propose", (12, 12, 0.0)),
        ("refine", (boxes,)),
        ("output", (boxes,)),
    ]
    for call, arguments in calls:
        with pytest.raises((TypeError, ValueError)):
            getattr(engine.networks, call)(picture, *arguments)


@pytest.mark.parametrize(
    "boxes", [np.zeros((3, 4), np.float32), np.zeros((3, 5)), np.zeros(4), [[0, 0, 1, 1]]], ids=str
)
def test_boxes_of_another_form_are_refused(boxes: object) -> None:
    """A TypeError or a ValueError, of the engine and of the extension."""
    engine = NativeEngine(models(), SETS[0])
    with pytest.raises((TypeError, ValueError), match="boxes are"):
        engine.prepare(portrait()).refine(boxes)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        engine.networks.output(portrait(), boxes)


def test_levels_and_weights_of_impossible_sizes_are_refused() -> None:
    """A level under 12 pixels has no cells; weights have the networks' number."""
    engine = NativeEngine(models(), SETS[0])
    for size in ((11, 12), (12, 0), (-1, 50), (1 << 25, 12)):
        with pytest.raises(ValueError, match="level"):
            engine.networks.propose(portrait(), *size, 0.0)
    with pytest.raises(ValueError, match="weights"):
        facet_native.Engine(SETS[0], *[np.zeros(5, np.float32)] * 3)
    with pytest.raises(ValueError, match="it can: "):
        facet_native.Engine("mmx", *[np.zeros(n, np.float32) for n in (6599, 100049, 388783)])


def test_a_picture_may_be_read_only_and_boxes_may_have_gaps() -> None:
    """Neither is written to, and neither needs to be copied by the caller."""
    picture = portrait()
    picture.flags.writeable = False
    prepared = NativeEngine(models(), SETS[0]).prepare(picture)
    boxes = np.random.default_rng(0).uniform(0, 400, (6, 4))
    assert np.array_equal(prepared.refine(boxes[::2])[0], prepared.refine(boxes[::2].copy())[0])
    for network in (prepared.refine, prepared.output):
        assert [len(part) for part in network(boxes[:0])] in ([0, 0], [0, 0, 0])


def test_threads_may_share_an_engine() -> None:
    """Nothing but the weights outlives a call."""
    shared, picture = native(SETS[0]), group_photo()
    expected = rows(shared.detect(picture))
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: rows(shared.detect(picture)), range(12)):
            assert np.array_equal(found, expected)


def test_an_instruction_set_that_the_cpu_lacks_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the setting, and what there is."""
    monkeypatch.setattr(facet_native, "instruction_sets", lambda: ["avx2", "base"])
    assert choose("auto", "auto").instruction_set == "avx2"
    assert choose("native", "base").instruction_set == "base"
    with pytest.raises(EngineUnavailable, match=r"FACET_NATIVE_ISA is 'avx512'.*it can: avx2, base"):
        choose("auto", "avx512")


def test_without_the_extension_auto_is_onnx_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names native gets an error instead."""
    monkeypatch.setitem(sys.modules, "facet_native", None)
    chosen = choose("auto", "auto")
    assert (chosen.engine, chosen.degraded) == ("onnx", True)
    assert "facet_native" in chosen.reason
    with pytest.raises(EngineUnavailable, match="FACET_ENGINE is 'native'"):
        choose("native", "auto")
    with pytest.raises(EngineUnavailable, match="no engine 'cuda'"):
        choose("cuda", "auto")
    assert create_detector(choose("auto"), models(), 20_000).model.engine == "onnx"


def test_onnx_is_taken_where_it_is_named() -> None:
    """That is no second best."""
    assert choose("onnx") == choose("onnx", "avx512")
    assert not choose("onnx").degraded


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    """They are verified whenever they are read, as models are."""
    convert(tmp_path)
    path = floats_path(tmp_path, "rnet")
    content = path.read_bytes()
    path.write_bytes(content[:400] + b"\0\0\0\0" + content[404:])
    assert not weights.models_ready(tmp_path)
    with pytest.raises(WeightsError, match=r"rnet\.f32 .* is not the file that was written"):
        create_detector(choose("native"), tmp_path, 20_000)


@pytest.mark.parametrize("instruction_set", SETS)
def test_every_instruction_set_passes_the_self_test(instruction_set: str) -> None:
    """A worker's own test at its start."""
    self_test(native(instruction_set))


def test_a_worker_with_this_engine_loads_no_other() -> None:
    """Nothing of ONNX, and choosing alone not even NumPy."""
    code = (
        "import sys, pathlib\n"
        "from inference_server.detector.choice import choose\n"
        "choose('native')\n"
        "assert 'numpy' not in sys.modules\n"
        "from inference_server.detector.factory import create_detector, self_test\n"
        "self_test(create_detector(choose('native'), pathlib.Path(sys.argv[1]), 20000))\n"
        "unwanted = {'onnx', 'onnxruntime', 'mtcnn', 'joblib', 'tensorflow'}\n"
        "sys.exit(' '.join(unwanted & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code, str(models())], check=True)
