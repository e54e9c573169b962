"""Rules of `facet models import-triton`: what becomes of a configuration, and of the folders beside it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from cli.facet import facet
from inference_server.models.local import load, predict
from inference_server.models.triton.rules import RULES
from protos.triton import model_config_class
from tests.support import onnx_models
from tests.support.onnx_models import tensor

LINEAR = """
name: "linear"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The folder of a model of y = 2 x + 1 in Triton's repository, with version 1."""
    onnx_models.linear(tmp_path / "repository" / "linear" / "1")
    return tmp_path / "repository" / "linear"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models, which need not exist."""
    monkeypatch.setenv("FACET_MODEL_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def imported(repository: Path, config: str, *options: str) -> Result:
    """Write config.pbtxt and type the command."""
    (repository / "config.pbtxt").write_text(config)
    command = ["models", "import-triton", str(repository / "config.pbtxt"), *options]
    return CliRunner().invoke(facet, command, prog_name="facet")


def found(result: Result) -> dict[str, tuple[str, str]]:
    """The printed table: by the key, verdict and reason."""
    rows = re.findall(r"^(\S+) +(taken|ignored|refused) +(\S.*)$", result.stdout, re.MULTILINE)
    return {key: (verdict, reason) for key, verdict, reason in rows}


def keys(folder: Path) -> dict[str, Any]:
    """What a version's model.toml says."""
    return tomllib.loads((folder / "model.toml").read_text())


def everything_in(folder: Path) -> set[Path]:
    """Files and folders."""
    return set(folder.rglob("*"))


def test_an_imported_model_answers_as_its_network_does(repository: Path, store: Path) -> None:
    """From the store, as any model there; the network is copied, and the repository stays as it is."""
    before = everything_in(repository)
    result = imported(repository, LINEAR)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("\nlinear 1 is in the store\n")
    assert predict("linear", [{"x": [1, 2, 3]}, {"x": [0, 0, 0]}]) == [{"y": [3, 5, 7]}, {"y": [1, 1, 1]}]
    assert everything_in(repository) - before == {repository / "config.pbtxt"}
    assert everything_in(store) == {
        store / "linear" / name for name in ("", "1", "1/model.onnx", "1/model.toml")
    }


def test_batches_waits_and_instances_become_settings_of_the_version(repository: Path, store: Path) -> None:
    """And each key of the file is told."""
    dynamic = "dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 1500 }\n"
    groups = "instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]\n"
    result = imported(repository, LINEAR + dynamic + groups)
    assert keys(store / "linear" / "1") == {
        "kind": "onnx",
        "file": "model.onnx",
        "batched": True,
        "max_batch": 8,
        "max_batch_delay": 0.0015,
        "min_workers": 3,
    }
    told = found(result)
    assert {key: verdict for key, (verdict, _) in told.items()} == {
        "name": "taken",
        "platform": "taken",
        "max_batch_size": "taken",
        "input[0].name": "taken",
        "input[0].data_type": "taken",
        "input[0].dims": "taken",
        "output[0].name": "taken",
        "output[0].data_type": "taken",
        "output[0].dims": "taken",
        "dynamic_batching.preferred_batch_size": "ignored",
        "dynamic_batching.max_queue_delay_microseconds": "taken",
        "instance_group[0].count": "taken",
        "instance_group[0].kind": "taken",
        "instance_group[1].count": "taken",
        "instance_group[1].kind": "ignored",
        "instance_group[1].gpus": "ignored",
    }
    assert told["max_batch_size"][1] == "max_batch = 8"


def test_without_a_batch_the_dimensions_are_those_of_the_file(repository: Path, store: Path) -> None:
    """A first dimension that varies is then part of the item."""
    config = (
        'backend: "onnxruntime" max_batch_size: 0 input { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] }'
    )
    assert imported(repository, config).exit_code == 0
    assert keys(store / "linear" / "1") == {"kind": "onnx", "file": "model.onnx", "batched": False}
    assert predict("linear", [{"x": [1, 2, 3, 0, 0, 0]}]) == [{"y": [3, 5, 7, 1, 1, 1]}]


def test_what_a_configuration_does_not_say_the_file_says(repository: Path, store: Path) -> None:
    """Triton completes such a configuration from the file, too; the model has the folder's name."""
    assert imported(repository, "").stdout == "linear 1 is in the store\n"
    assert keys(store / "linear" / "1") == {"kind": "onnx", "file": "model.onnx"}
    assert load("linear").card["max_batch"] > 1


def test_a_batch_larger_than_can_be_computed_at_once_is_told(repository: Path, store: Path) -> None:
    """A request may be larger all the same."""
    result = imported(repository, LINEAR.replace("8", "128"))
    assert found(result)["max_batch_size"] == ("taken", "max_batch = 64")
    assert keys(store / "linear" / "1")["max_batch"] == 64


def test_the_file_may_have_another_name_and_weights_beside_it(repository: Path, store: Path) -> None:
    """All files of the version are copied; a folder is one with the network in it."""
    folder = repository / "1" / "net.onnx"
    network = onnx.load(repository / "1" / "model.onnx")
    (repository / "1" / "model.onnx").unlink()
    folder.mkdir()
    del network.graph.initializer[:]
    network.graph.initializer.append(numpy_helper.from_array(np.full(300, 2, np.float32), "twos"))
    shape = numpy_helper.from_array(np.array([100, 3]), "shape")
    one = numpy_helper.from_array(np.array([1], np.float32), "one")
    first = numpy_helper.from_array(np.array([0]), "first")
    network.graph.initializer.extend([shape, one, first])
    network.graph.node.insert(0, helper.make_node("Reshape", ["twos", "shape"], ["table"]))
    network.graph.node.insert(1, helper.make_node("Gather", ["table", "first"], ["two"]))
    onnx.save(network, folder / "model.onnx", save_as_external_data=True, location="weights.bin")
    assert imported(repository, LINEAR + 'default_model_filename: "net.onnx"').exit_code == 0
    assert keys(store / "linear" / "1")["file"] == "net.onnx/model.onnx"
    assert (store / "linear" / "1" / "net.onnx" / "weights.bin").stat().st_size >= 1200
    assert predict("linear", [{"x": [1, 2, 3]}]) == [{"y": [3, 5, 7]}]


# --- what is refused ---

REFUSED = {
    'ensemble_scheduling { step { model_name: "a" } }': "ensemble_scheduling",
    "sequence_batching { oldest { max_candidate_sequences: 4 } }": "sequence_batching",
    "batch_input { kind: BATCH_ITEM_SHAPE }": "batch_input",
    "model_transaction_policy { decoupled: true }": "model_transaction_policy.decoupled",
    "dynamic_batching { priority_levels: 2 }": "dynamic_batching.priority_levels",
    "dynamic_batching { max_queue_delay_microseconds: 30000000 }": (
        "dynamic_batching.max_queue_delay_microseconds"
    ),
    "instance_group { count: 65 }": "instance_group",
    "instance_group { passive: true }": "instance_group[0].passive",
    'model_operations { op_library_filename: "a.so" }': "model_operations",
    'model_repository_agents { agents { name: "checksum" } }': "model_repository_agents",
    'runtime: "model.py"': "runtime",
    'default_model_filename: "other.onnx"': "default_model_filename",
    'default_model_filename: "../1/model.onnx"': "default_model_filename",
    'default_model_filename: "/model.onnx"': "default_model_filename",
    'input { name: "z" data_type: TYPE_FP32 dims: 3 }': "input[1].name",
    'output { name: "z" data_type: TYPE_FP32 dims: 3 }': "output[1].name",
}


@pytest.mark.parametrize(("text", "key"), REFUSED.items(), ids=list(REFUSED))
def test_what_facet_cannot_do_is_refused_by_its_key(
    repository: Path, store: Path, text: str, key: str
) -> None:
    """Then nothing is written, the other keys are told all the same, and the last line names the key."""
    result = imported(repository, LINEAR + text)
    assert result.exit_code == 1
    assert {one for one, (verdict, _) in found(result).items() if verdict == "refused"} == {key}
    assert found(result)["max_batch_size"] == ("taken", "max_batch = 8")
    assert result.stderr == f"facet: INVALID_MODEL: nothing is written, because of {key}\n"
    assert not store.exists()


DIFFERENT = {
    ("onnxruntime_onnx", "tensorrt_plan"): ("platform", "it is 'tensorrt_plan'; accepted: onnxruntime_onnx"),
    ('platform: "onnxruntime_onnx"', 'backend: "python"'): ("backend", "accepted: onnxruntime"),
    ("TYPE_FP32", "TYPE_INT64"): ("input[0].data_type", "version 1: x is FP32 in the ONNX file"),
    ("[ 3 ]", "[ 4 ]"): ("input[0].dims", "x has [-1, 3] in the ONNX file, and here [-1, 4]"),
    ("[ 3 ]", "[ -1 ]"): ("input[0].dims", "x has [-1, 3] in the ONNX file, and here [-1, -1]"),
    ("[ 3 ]", "[ 3 ] reshape { shape: [ 3, 1 ] }"): ("input[0].reshape", "Facet reshapes no tensors"),
    ("[ 3 ]", "[ 3 ] optional: true"): ("input[0].optional", "a request has all inputs"),
    ("max_batch_size: 8", "max_batch_size: -1"): ("max_batch_size", "accepted: 0 or more"),
    ("input [", "output ["): ("output[0].name", "the ONNX file has y"),
}


@pytest.mark.parametrize(("change", "told"), DIFFERENT.items())
def test_a_configuration_that_is_not_as_the_file_is_refused(
    repository: Path, store: Path, change: tuple[str, str], told: tuple[str, str]
) -> None:
    """With what is in the file."""
    result = imported(repository, LINEAR.replace(*change, 1))
    assert (result.exit_code, store.exists()) == (1, False)
    verdict, reason = found(result)[told[0]]
    assert (verdict, told[1] in reason) == ("refused", True), reason


def test_a_batch_needs_a_first_dimension_that_varies(repository: Path, store: Path) -> None:
    """Such a file can be imported without one."""
    onnx_models.linear(repository / "1", batch=1)
    assert found(imported(repository, LINEAR))["max_batch_size"][0] == "refused"
    config = LINEAR.replace("max_batch_size: 8", "max_batch_size: 0").replace("[ 3 ]", "[ 1, 3 ]")
    assert imported(repository, config).exit_code == 0
    assert (store / "linear" / "1").exists()


def test_an_input_of_the_file_must_not_be_left_out(repository: Path, store: Path) -> None:
    """An output may: it is answered nevertheless."""
    added = helper.make_node("Add", ["a", "b"], ["sum"])
    negated = helper.make_node("Neg", ["a"], ["negative"])
    sides = [tensor(name, ["n", 2], TensorProto.FLOAT) for name in ("a", "b", "sum", "negative")]
    onnx_models.save(repository / "1", [added, negated], sides[:2], sides[2:])
    config = """
        max_batch_size: 4
        input { name: "a" data_type: TYPE_FP32 dims: 2 }
        output { name: "sum" data_type: TYPE_FP32 dims: 2 }
    """
    missing = imported(repository, config)
    assert found(missing)["input"] == ("refused", "version 1: the ONNX file needs b, too")
    assert imported(repository, config + 'input { name: "b" data_type: TYPE_FP32 dims: 2 }').exit_code == 0
    assert {*load("linear").card["output_schema"]["properties"]} == {"sum", "negative"}
    assert store.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_batchsize: 8", '3:1 : Message type "inference.ModelConfig" has no field named "max_batchsize"'),
        ("input { nam: 1 }", 'Message type "inference.ModelInput" has no field named "nam"'),
        ("instance_group { kind: KIND_TPU }", "has no value named KIND_TPU"),
        ("dynamic_batching { } sequence_batching { }", "dynamic_batching"),
        ("max_batch_size: 99999999999", "99999999999"),
        ("{", "3:1"),
        ("\0", "3:1"),
    ],
)
def test_what_is_no_configuration_of_triton_is_named_with_its_place(
    repository: Path, store: Path, text: str, said: str
) -> None:
    """In one line."""
    result = imported(repository, f'\nname: "linear"\n{text}\n')
    assert (result.exit_code, result.stdout, store.exists()) == (1, "", False)
    assert re.fullmatch(
        r"facet: INVALID_MODEL: config.pbtxt is no configuration of Triton: .*\n", result.stderr
    )
    assert said in result.stderr


def test_every_key_that_triton_has_is_judged() -> None:
    """By itself or by its parts."""

    def leaves(described: Any, rule: str) -> Iterator[str]:  # noqa: ANN401 - a Descriptor
        for field in described.fields:
            path = f"{rule}.{field.name}" if rule else field.name
            if path in RULES:
                yield path
            else:
                assert field.message_type is not None, path
                yield from leaves(field.message_type, path)

    assert {*leaves(model_config_class().DESCRIPTOR, "")} == RULES.keys()


# --- versions, and the store ---


@pytest.mark.parametrize(
    ("policy", "options", "expected"),
    [
        ("", [], ["10"]),
        ("version_policy { latest { num_versions: 2 } }", [], ["2", "10"]),
        ("version_policy { all { } }", [], ["1", "2", "10"]),
        ("version_policy { specific { versions: [ 1, 2 ] } }", [], ["1", "2"]),
        ("version_policy { specific { versions: [ 1, 2 ] } }", ["--version", "10"], ["10"]),
    ],
)
def test_the_policy_says_which_versions_are_imported_unless_one_is_named(
    repository: Path, store: Path, policy: str, options: list[str], expected: list[str]
) -> None:
    """Compared as numbers; other folders are no versions."""
    for version in ("2", "10"):
        onnx_models.linear(repository / version)
    (repository / "warmup").mkdir()
    result = imported(repository, LINEAR + policy, *options)
    assert result.stdout.splitlines()[-len(expected) :] == [
        f"linear {one} is in the store" for one in expected
    ]
    assert {folder.name for folder in (store / "linear").iterdir()} == {*expected}


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("version_policy { specific { versions: 3 } }", []),
        ("version_policy { specific { } }", []),
        ("", ["--version", "3"]),
        ("", ["--version", "../1"]),
    ],
)
def test_a_version_that_is_not_there_is_named_with_those_that_are(
    repository: Path, store: Path, policy: str, options: list[str]
) -> None:
    """Nothing is written."""
    result = imported(repository, LINEAR + policy, *options)
    assert (result.exit_code, store.exists()) == (1, False)
    assert re.fullmatch(r"facet: MODEL_NOT_FOUND: There is no version .*; there are 1\n", result.stderr)


def test_what_the_store_has_is_replaced_by_force_alone(repository: Path, store: Path) -> None:
    """As a whole: what the older one had besides is gone."""
    imported(repository, LINEAR)
    kept = store / "linear" / "1" / "kept.txt"
    kept.write_text("")
    again = imported(repository, LINEAR.replace("8", "4"))
    assert again.exit_code == 1
    assert again.stderr.startswith("facet: MODEL_EXISTS: linear 1 is in the store already")
    assert (keys(kept.parent)["max_batch"], kept.exists()) == (8, True)
    assert imported(repository, LINEAR.replace("8", "4"), "--force").exit_code == 0
    assert (keys(kept.parent)["max_batch"], kept.exists()) == (4, False)
    assert [folder.name for folder in (store / "linear").iterdir()] == ["1"]


@pytest.mark.security(
    endpoint="files",
    attack="Links in a Triton repository that lead out of a version's folder",
    outcome="Refused",
)
def test_no_link_leads_out_of_a_versions_folder(repository: Path, store: Path, tmp_path: Path) -> None:
    """Neither that of the network, nor another file's, nor the folder itself."""
    outside = tmp_path / "outside"
    onnx_models.linear(outside)
    (repository / "1" / "other").symlink_to(outside / "model.onnx")
    result = imported(repository, LINEAR)
    assert result.stderr.startswith("facet: INVALID_MODEL: 1/other is ")
    (repository / "1" / "other").unlink()
    (repository / "1" / "model.onnx").unlink()
    (repository / "1" / "model.onnx").symlink_to(outside / "model.onnx")
    assert found(imported(repository, LINEAR))["default_model_filename"][0] == "refused"
    (repository / "2").symlink_to(outside)
    assert found(imported(repository, LINEAR))["default_model_filename"][0] == "refused"
    assert not [path for path in everything_in(store) if path.is_file()]


@pytest.mark.security(
    endpoint="files",
    attack="A name of a model in a Triton configuration that leads out of the store",
    outcome="Refused; nothing is written",
)
@pytest.mark.parametrize("name", ["..", "a/b", "-linear", "x" * 65])
def test_a_name_that_no_model_can_have_is_refused(repository: Path, store: Path, name: str) -> None:
    """It would be the name of a folder."""
    result = imported(repository, LINEAR.replace('"linear"', f'"{name}"'))
    assert (result.exit_code, store.exists()) == (1, False)
    assert result.stderr.startswith("facet: INVALID_MODEL: The model's name is ")


def test_a_configuration_that_cannot_be_read_is_a_failure(tmp_path: Path, store: Path) -> None:
    """Named by its path."""
    path = tmp_path / "config.pbtxt"
    result = CliRunner().invoke(facet, ["models", "import-triton", str(path)])
    assert (result.exit_code, store.exists()) == (1, False)
    assert result.stderr.startswith("facet: FILE_ERROR: ")
    assert str(path) in result.stderr
