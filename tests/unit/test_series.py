"""Rules of which version of a model is counted where."""

from inference_server.catalogue.entries import Catalogue
from inference_server.dispatch.counters import FACES, NO_MODEL, NO_QUEUE, OF_MODELS, Counters
from inference_server.dispatch.families import OUTCOMES, RECEIVED, REQUESTS
from inference_server.dispatch.publication import Publication
from inference_server.series import CountedPublication, Series
from tests.support.dispatch import shared_stats
from tests.support.models import version


def count(counters: Counters, queue: int, times: int = 1) -> None:
    """Count calls for a queue, as a worker does."""
    counters.receiver(0).of(queue)[RECEIVED.place(REQUESTS) + OUTCOMES[""]] += times


def counted(counters: Counters, queue: int) -> int:
    """What was counted for the version that a queue has now."""
    return counters.received.sums(counters.series_of(queue)).of(REQUESTS)[OUTCOMES[""]]


def test_a_version_that_comes_back_counts_on() -> None:
    """In whichever queue; who gets its queue meanwhile begins at 0."""
    counters = shared_stats(queues=3).counters
    series = Series(counters)
    series.count([(0, "face_detection/1.0"), (1, "a/1")])
    count(counters, 1, 5)
    series.count([(1, "b/1")])
    assert counted(counters, 1) == 0
    count(counters, 1)
    series.count([(1, "b/1"), (2, "a/1")])
    count(counters, 2)
    assert [counted(counters, queue) for queue in (1, 2)] == [1, 6]


def test_a_version_that_comes_back_before_it_has_left_counts_with_itself() -> None:
    """Its last calls are in the queue of before."""
    counters = shared_stats(queues=3).counters
    series = Series(counters)
    series.count([(1, "a/1")])
    count(counters, 1, 2)
    series.count([(2, "a/1")])
    count(counters, 1)
    count(counters, 2)
    assert counted(counters, 2) == 4


def test_what_was_gone_for_longest_is_forgotten_for_what_is_new() -> None:
    """Of more versions than can be remembered; never what has a queue."""
    counters = shared_stats(queues=3).counters
    series = Series(counters)
    series.count([(2, "stays/1")])
    count(counters, 2, 3)
    for number in range(2 * len(OF_MODELS)):
        series.count([(1, f"m{number}/1")])
        assert counted(counters, 1) == 0
        count(counters, 1, 7)
    assert counted(counters, 2) == 3
    series.count([(1, f"m{len(OF_MODELS) + 1}/1")])
    assert counted(counters, 1) == 7
    series.count([(1, "m0/1")])
    assert counted(counters, 1) == 0


def test_faces_are_always_counted_and_what_has_no_number_yet_is_nobodys() -> None:
    """A package says the number of its version when it is loaded."""
    counters = shared_stats(queues=3).counters
    assert counters.mapping() == (FACES, NO_MODEL, NO_MODEL, NO_MODEL)
    publication = CountedPublication(Publication.create(), counters)
    unknown = version("new", number="", queue=1)
    assert publication.publish(Catalogue(1, (unknown,)).to_json()) == 1
    assert counters.series_of(1) == counters.series_of(NO_QUEUE) == NO_MODEL
    known = version("new", number="1.0", queue=1)
    assert publication.publish(Catalogue(2, (known,)).to_json()) == publication.generation == 2
    assert counters.series_of(1) in OF_MODELS
