"""Rules of counters by the names of keys, in memory that processes share."""

from utils.api_keys import KEY_NAME, MOST_KEYS
from utils.counters import Counter
from utils.key_counters import MOST_NAMES, NAME_BYTES, NO_KEY, KeyTable

REQUESTS = Counter("requests", "about", ("code",), (("OK",), ("FULL",)))
ROWS = 3


def table(memory: bytearray) -> KeyTable:
    """As one process sees it."""
    return KeyTable(memoryview(memory), REQUESTS, ROWS)


def memory() -> bytearray:
    """Of a table in which nothing is counted."""
    return bytearray(KeyTable.size(REQUESTS, ROWS))


def counted(shared: bytearray) -> dict[str, list[int]]:
    """What another process reads: the words of names, of those that have counted anything."""
    return {name: words for (name,), words in table(shared).sums() if any(words)}


def test_the_next_process_of_a_row_counts_on() -> None:
    """Names that it has known and others, and requests without a known key."""
    shared = memory()
    for names in (["shop", NO_KEY], ["bank", "shop"]):
        words = table(shared).words(1)
        for name in names:
            words[name][1] += 5
    assert counted(shared) == {"shop": [0, 10], NO_KEY: [0, 5], "bank": [0, 5]}


def test_a_name_is_one_whichever_place_it_has_in_a_row() -> None:
    """Processes meet the names in different orders."""
    shared = memory()
    for row, names in enumerate((["shop", "bank"], ["bank", "shop"], ["bank"])):
        for name in names:
            table(shared).words(row)[name][0] += 1
    assert counted(shared) == {"shop": [2, 0], "bank": [3, 0]}


def test_names_that_have_no_room_are_counted_together() -> None:
    """Those that were there before keep their own words."""
    shared = memory()
    words = table(shared).words(0)
    for number in range(MOST_NAMES + 2):
        words[f"key-{number}"][0] += 1
    words["key-0"][0] += 1
    found = counted(shared)
    assert len(found) == MOST_NAMES + 1
    assert (found["key-0"], found[f"key-{MOST_NAMES - 1}"], found[NO_KEY]) == ([2, 0], [1, 0], [2, 0])
    assert table(shared).words(0)[f"key-{MOST_NAMES}"] == table(shared).words(0)[NO_KEY]


def test_a_row_has_room_for_all_keys_of_a_file() -> None:
    """And for names as long as they may be."""
    longest = "k" * NAME_BYTES
    assert KEY_NAME.fullmatch(longest)
    assert not KEY_NAME.fullmatch(f"{longest}k")
    assert MOST_KEYS <= MOST_NAMES
    shared = memory()
    words = table(shared).words(ROWS - 1)
    words[longest][1] += 1
    words["next"][1] += 1
    assert counted(shared) == {longest: [0, 1], "next": [0, 1]}
