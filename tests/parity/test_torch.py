"""Image classifiers give what PyTorch gives, with the same weights on the same pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from tests.parity import corpus
from tests.support.pictures import encoded

pytest.importorskip("torch", reason="PyTorch is not installed; docs/models.md says what it needs")

if TYPE_CHECKING:
    from scripts.compare_torch import Classifier

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.timeout(1200),  # PyTorch's threads wait for each other where other programs take the CPUs
]


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    """Composites as PNG files, and every sixteenth photograph where there are some."""
    folder = corpus.photos_dir()
    photographs = [(folder / name).read_bytes() for name in corpus.photographs()[::16]] if folder else []
    return [encoded(corpus.picture(name), "PNG") for name in corpus.composites()] + photographs


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> "Classifier":
    """With the weights that can be fetched."""
    from scripts import compare_torch

    return compare_torch.lite0(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def resnet34(tmp_path_factory: pytest.TempPathFactory, files: Sequence[bytes]) -> "Classifier":
    """With random weights that go through a file, as those of a user."""
    import torch

    from examples import export_resnet34
    from scripts import compare_torch

    folder = tmp_path_factory.mktemp("store")
    weights = folder / "weights.pth"
    torch.save(compare_torch.random_resnet34(files).state_dict(), weights)
    return compare_torch.exported_resnet34(folder, export_resnet34.load(weights))


@pytest.mark.parametrize("batch", [1, 7, 32])
@pytest.mark.parametrize("network", ["lite0", "resnet34"])
def test_a_classifier_gives_the_classes_of_pytorch(
    network: str, batch: int, files: Sequence[bytes], request: pytest.FixtureRequest
) -> None:
    """Whatever the size of a batch; the networks are given exactly the same numbers."""
    from scripts import compare_torch

    found, count = compare_torch.compare(request.getfixturevalue(network), files, batch), len(files)
    assert found.same == count
    assert found.classes > 10
    assert found.inputs == 0
    assert found.probabilities < 1e-4
