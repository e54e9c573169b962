"""Rules of what is to be served."""

from inference_server.catalogue.desired_state import Desired
from tests.support.catalogue import version

ONE, TWO = version("iris", "1.0"), version("iris", "2.0")


def test_the_first_version_of_a_name_is_its_default() -> None:
    """A later one is not; one whose version nobody knows yet is none."""
    unknown = version("iris", "")
    loading = Desired().with_version(unknown)
    assert loading.defaults == {}
    loaded = loading.with_version(ONE, unknown)
    assert (loaded.versions, loaded.defaults) == ((ONE,), {"iris": "1.0"})
    assert loaded.with_version(TWO).defaults == {"iris": "1.0"}


def test_a_version_that_leaves_takes_its_weight_along() -> None:
    """And the last of a name everything of that name."""
    both = Desired((ONE, TWO), {"iris": "1.0", "bee": "1"}, {"iris": {"2.0": 10}, "bee": {"1": 1}})
    left = both.without(TWO)
    assert left == Desired((ONE,), both.defaults, {"bee": {"1": 1}})
    assert left.without(ONE) == Desired((), {"bee": "1"}, {"bee": {"1": 1}})


def test_weights_of_nothing_are_no_weights() -> None:
    """So that nobody looks for a canary where there is none."""
    both = Desired((ONE, TWO), {"iris": "1.0"}, {"iris": {"2.0": 10}})
    assert both.with_canary("iris", {}).canary == {}
    assert both.with_canary("iris", {"1.0": 0, "2.0": 5}).canary == {"iris": {"2.0": 5}}
