"""Rules of counters in shared memory."""

import pytest

from utils.counters import DURATIONS, SECOND, Counter, Histogram, Layout, Table, observe

REQUESTS = Counter("requests", "about", ("reason",), (("",), ("FULL",)))
SECONDS = Histogram("seconds", "about")
SIZES = Histogram("sizes", "about", (1, 2, 4), unit=1.0)
LAYOUT = Layout(REQUESTS, SECONDS, SIZES)
ROWS, SERIES = 3, 4


def table(memory: bytearray | None = None) -> Table:
    """One in this memory, or in memory of its own."""
    return Table(memoryview(memory or bytearray(Table.size(LAYOUT, ROWS, SERIES))), LAYOUT, ROWS, SERIES)


def test_the_next_process_of_a_row_counts_on() -> None:
    """So that nothing is lost by the end of one, and the sum over the rows is that over all processes."""
    memory = bytearray(Table.size(LAYOUT, ROWS, SERIES))
    for row in (0, 2, 2):
        block = table(memory).block(row, 1)
        block[LAYOUT.place(REQUESTS) + 1] += 5
        observe(block, LAYOUT.buckets(SIZES), 3)
    counted = table(memory).sums(1)
    assert counted.of(REQUESTS) == [0, 15]
    assert counted.of(SIZES) == [0, 0, 3, 0, 9]
    rows = {row: words.of(REQUESTS) for row, words in table(memory).rows(1)}
    assert rows == {0: [0, 5], 2: [0, 10]}


def test_a_series_is_counted_apart_from_its_neighbours() -> None:
    """In every word of it, up to the largest number that a word can have."""
    made = table()
    for row in range(ROWS):
        block = made.block(row, 2)
        for word in range(sum(family.words for family in LAYOUT.families)):
            block[word] += (2**64 - 1) // ROWS
    total = (2**64 - 1) // ROWS * ROWS
    assert all(set(made.sums(2).of(family)) == {total} for family in LAYOUT.families)
    assert all(set(made.sums(other).of(family)) == {0} for other in (1, 3) for family in LAYOUT.families)


def test_a_series_can_begin_again_while_its_words_stay() -> None:
    """For each of them has one writer, which knows nothing of it."""
    made = table()
    block = made.block(0, 1)
    block[LAYOUT.place(REQUESTS)] += 7
    made.begin(1)
    assert made.sums(1).of(REQUESTS) == [0, 0]
    block[LAYOUT.place(REQUESTS)] += 2
    made.block(1, 1)[LAYOUT.place(REQUESTS) + 1] += 1
    assert made.sums(1).of(REQUESTS) == [2, 1]


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.005, 0), (0.0050001, 1), (10.0, 10), (10.1, len(DURATIONS))]
)
def test_an_observation_is_in_the_first_bucket_whose_bound_it_does_not_exceed(
    seconds: float, bucket: int
) -> None:
    """The last bucket has what exceeds all bounds."""
    made = table()
    value = round(seconds * SECOND)
    observe(made.block(0, 0), LAYOUT.buckets(SECONDS), value)
    *buckets, total = made.sums(0).of(SECONDS)
    assert [place for place, count in enumerate(buckets) if count] == [bucket]
    assert total == value


def test_a_layout_is_known_by_what_its_words_count() -> None:
    """Not by how that is explained."""
    others = [
        Layout(SECONDS, REQUESTS, SIZES),
        Layout(REQUESTS, SECONDS),
        Layout(Counter("requests", "about", ("reason",), (("FULL",), ("",))), SECONDS, SIZES),
        Layout(REQUESTS, Histogram("seconds", "about", DURATIONS[1:]), SIZES),
    ]
    assert LAYOUT.fingerprint not in {other.fingerprint for other in others}
    explained = Layout(Counter("requests", "more", ("reason",), (("",), ("FULL",))), SECONDS, SIZES)
    assert explained.fingerprint == LAYOUT.fingerprint
