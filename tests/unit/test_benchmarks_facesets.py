"""Labelled pictures as they lie on disk."""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.facesets import LEVELS, sets


def _write(path: Path, *rows: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_folder_of_sets_gives_each_by_its_name(tmp_path: Path) -> None:
    """Boxes that a machine found, and those to be ignored, count for nothing."""
    one = {
        "image": "a.jpg",
        "boxes": [[0, 0, 9, 9]],
        "ignore": [[1, 1, 5, 5]],
        "unlabelled_yunet": [[2, 2, 5, 5]],
    }
    _write(tmp_path / "some" / "gt.jsonl", one)
    _write(tmp_path / "others" / "gt.jsonl", {"image": "b.jpg", "boxes": [], "ignore": []})
    found = sets(tmp_path)
    assert list(found) == ["others", "some"]
    picture = found["some"][0]
    assert picture.path == tmp_path / "some" / "a.jpg"
    assert picture.boxes().tolist() == [[0, 0, 9, 9], [1, 1, 5, 5], [2, 2, 5, 5]]
    assert picture.counts(None) == [True, False, False]
    assert found["others"][0].boxes().shape == (0, 4)


def test_one_set_may_be_named_itself(tmp_path: Path) -> None:
    """Its folder has the list."""
    _write(tmp_path / "mine" / "gt.jsonl", {"image": "a.jpg", "boxes": []})
    assert list(sets(tmp_path / "mine")) == ["mine"]


def test_what_the_networks_were_trained_on_is_left_out(tmp_path: Path) -> None:
    """They would look better than they are."""
    _write(tmp_path / "wider_train" / "gt.jsonl", {"image": "a.jpg", "boxes": []})
    assert sets(tmp_path) == {}


def test_a_level_takes_in_those_before_it(tmp_path: Path) -> None:
    """Faces of a harder level are to be ignored."""
    row = {"image": "a.jpg", "boxes": [[0, 0, 9, 9]] * 3, "level": ["hard", "easy", "medium"]}
    _write(tmp_path / "gt.jsonl", row)
    ((picture,),) = sets(tmp_path).values()
    assert [picture.counts(level) for level in LEVELS] == [
        [False, True, False],
        [False, True, True],
        [True, True, True],
    ]


def test_wider_face_is_read_as_it_is_published(tmp_path: Path) -> None:
    """Invalid faces are to be ignored, and a picture without faces has a line of zeros."""
    listed = tmp_path / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    listed.parent.mkdir()
    listed.write_text(
        "0--Parade/a.jpg\n2\n10 20 30 40 0 0 0 0 0 0 \n5 6 7 8 2 0 0 1 0 0 \n"
        "0--Parade/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n"
        "1--Handshaking/c.jpg\n1\n1 2 3 4 0 0 0 0 0 0 \n"
    )
    ((first, empty, last),) = sets(tmp_path).values()
    assert first.path == tmp_path / "WIDER_val" / "images" / "0--Parade" / "a.jpg"
    assert (first.faces, first.ignored) == ([[10, 20, 40, 60]], [[5, 6, 12, 14]])
    assert empty.boxes().shape == (0, 4)
    assert last.faces == [[1, 2, 4, 6]]
