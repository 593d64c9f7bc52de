"""Sequences of vectors as they are read: from memory, files and folders."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfattn_lm.config import DataConfig
from selfattn_lm.data.sources import load_splits, split_in_memory
from selfattn_lm.data.vectors import Vectors, holds_vectors, is_matrix, read_vectors
from selfattn_lm.errors import UserError

LAYOUT = "`sequences` (N, T, F), or `vectors` (V, F) and `lengths` (N,)"


def sequence(length: int = 3, features: int = 2, start: float = 0) -> np.ndarray:
    return (start + np.arange(length * features, dtype=np.float32)).reshape(length, features)


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def values_of(path: Path) -> list[list[list[float]]]:
    train = load_splits(DataConfig(str(path)))["train"]
    return [found.values.tolist() for found in train.texts]


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_splits(DataConfig(str(path)))
    return str(caught.value).removeprefix(str(path))


def test_a_matrix_is_told_from_a_text_and_from_a_list() -> None:
    assert is_matrix(sequence())
    assert is_matrix([[1.0], [2.0]])
    assert not any(is_matrix(value) for value in ("ab", [1, 2], [], np.zeros(3), None, 5))
    assert holds_vectors([sequence()])
    assert holds_vectors(np.zeros((2, 3, 4)))
    assert not any(holds_vectors(value) for value in (["ab"], [["ab"]], [], np.array(["a"]), 5))


def test_equal_sequences_are_equal_as_texts_are() -> None:
    first, second = Vectors(sequence()), Vectors(sequence())
    assert first == second
    assert hash(first) == hash(second)
    assert first != Vectors(sequence().reshape(2, 3))
    assert first != "a text"


def test_tensors_and_lists_are_read_as_arrays_are() -> None:
    import torch

    expected = sequence().tolist()
    for value in (torch.tensor(expected), torch.tensor(expected).bfloat16(), expected):
        assert read_vectors(value, "here").values.tolist() == expected


def test_what_is_read_is_a_copy() -> None:
    given = sequence()
    found = read_vectors(given, "here")
    given[0, 0] = 9
    assert found.values[0, 0] == 0


def test_sequences_in_memory_become_a_split() -> None:
    split = split_in_memory("texts", [sequence(), sequence(5)], ["a", "b"])
    assert (split.has_vectors, split.noun, len(split.texts[1])) == (True, "sequence", 5)
    batch = split_in_memory("texts", np.zeros((4, 3, 2)), [0, 1, 0, 1])
    assert (len(batch), batch.texts[0].values.shape) == (4, (3, 2))
    lazy = split_in_memory("texts", (sequence(n + 1) for n in range(2)), ["a", "b"])
    assert [len(item) for item in lazy.texts] == [1, 2]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([sequence(), sequence(3, 4)], "sequences[1]: 4 features per vector, but 2 in the first row; use one size."),
        ([sequence(), "ab"], "sequences[1]: of the type str, not a sequence of vectors; give a matrix (T, F) for each."),
        ([np.zeros((0, 2))], "sequences[0]: an empty sequence, of 0 vectors; fix or remove it."),
        ([np.zeros((2, 0))], "sequences[0]: vectors without features; fix or remove it."),
        ([np.array([[0, 1], [np.nan, 0]])], "sequences[0]: nan in vector 1, feature 0; fix or remove it."),
        ([np.array([[np.inf]])], "sequences[0]: inf in vector 0, feature 0; fix or remove it."),
        ([[[1, 2], [3]]], "sequences[0]: not vectors of equally many numbers; give a matrix, with a row for each vector."),
    ],
)  # fmt: skip
def test_a_broken_sequence_is_refused_with_its_place(items: list[Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        split_in_memory("texts", items, ["a"] * len(items))
    assert str(caught.value) == message


def test_an_npz_file_holds_sequences_of_one_length_or_of_several(tmp_path: Path) -> None:
    together = np.stack([sequence(), sequence(start=7)])
    np.savez(tmp_path / "a.npz", sequences=together, label=["x", "y"])
    np.savez(tmp_path / "b.npz", vectors=together.reshape(-1, 2), lengths=[2, 4], label=["x", "y"])
    assert values_of(tmp_path / "a.npz") == together.tolist()
    assert [len(values) for values in values_of(tmp_path / "b.npz")] == [2, 4]


def test_columns_of_0_and_1_in_an_npz_file_are_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", sequences=np.zeros((3, 2, 2)), high=[1, 0, 1], low=[0, 0, 1])
    config = DataConfig(str(tmp_path / "a.npz"), label_column=("high", "low"))
    assert load_splits(config)["train"].targets == [("high",), (), ("high", "low")]


def test_label_folders_hold_a_sequence_per_npy_file(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for number, label in enumerate(("no", "yes")):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            np.save(folder / "1.npy", sequence(start=number))
    splits = load_splits(DataConfig(str(tmp_path)))
    assert sorted(splits) == ["test", "train"]
    assert splits["train"].targets == ["no", "yes"]
    assert splits["train"].texts[1].values[0, 0] == 1


def test_lists_of_numbers_in_jsonl_are_sequences(tmp_path: Path) -> None:
    rows = [{"sequence": sequence(n).tolist(), "label": "ab"[n % 2]} for n in (1, 2, 3)]
    path = write_rows(tmp_path / "a.jsonl", *rows)
    assert [len(values) for values in values_of(path)] == [1, 2, 3]


def test_a_folder_in_the_hubs_layout_may_hold_sequences(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("---\n---\n")
    table = pa.table({"sequence": [sequence().tolist()] * 4, "label": ["a", "b"] * 2})
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    assert values_of(tmp_path) == [sequence().tolist()] * 4


GOOD = {"sequence": [[1.0, 2.0]], "label": "a"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sequence": [[1.0]], "label": "a"}, ", row 2: 1 feature per vector, but 2 in the first row; use one size."),
        ({"sequence": "ab", "label": "a"}, ", row 2: a text, but the first row has a sequence of vectors; use one kind."),
        ({"sequence": [], "label": "a"}, ", row 2: column 'sequence' holds an empty list, neither a text nor vectors; fill it in."),
        ({"sequence": [[float("nan"), 1]], "label": "a"}, ", row 2, column 'sequence': nan in vector 0, feature 0; fix or remove it."),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_with_row_and_column(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    assert refusal(write_rows(tmp_path / "a.jsonl", GOOD, row)) == message


def test_vectors_among_texts_are_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", {"sequence": "ab", "label": "a"}, GOOD)
    message = ", row 2: a sequence of vectors, but the first row has a text; use one kind."
    assert refusal(path) == message


def test_vectors_come_in_no_pairs(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", {**GOOD, "other": "text"})
    with pytest.raises(UserError) as caught:
        load_splits(DataConfig(str(path), text_column=("sequence",), pair_column="other"))
    reason = "column 'sequence' holds vectors, and only texts come in pairs"
    assert str(caught.value) == f"{path}, row 1: {reason}; leave out --data.pair-column."


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, f": no sequences of vectors; found x, save {LAYOUT}."),
        ({"sequences": np.zeros((2, 3))}, f": `sequences` has the shape (2, 3); save {LAYOUT}."),
        ({"vectors": np.zeros((5, 2)), "lengths": [2, 2]}, f": `lengths` does not divide the 5 rows of `vectors`; save {LAYOUT}."),
        ({"sequences": np.zeros((2, 3, 1)), "label": ["a"]}, ": array 'label' has the shape (1,); give one value for each of the 2 sequences."),
        ({"sequences": np.zeros((1, 3, 1)), "label": np.array([None])}, ": an array of Python objects, which are never unpickled; save numbers, or an array of strings."),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    assert refusal(tmp_path / "a.npz") == message


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"no array")
    assert refusal(tmp_path / "a.npy").startswith(": not a readable npy file: ")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04no archive")
    message = ": the npz file is empty or damaged; write it again."
    assert refusal(tmp_path / "a.npz") == message
    (tmp_path / "empty.npy").write_bytes(b"")
    message = ": the npy file is empty or damaged; write it again."
    assert refusal(tmp_path / "empty.npy") == message
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    (tmp_path / "b.npy").write_bytes(file.getvalue())
    message = ": an array of shape (3,); save one sequence (T, F) or several (N, T, F)."
    assert refusal(tmp_path / "b.npy") == message


def test_pretraining_reads_no_vectors(tmp_path: Path) -> None:
    from selfattn_lm.data.sources import stream_texts

    np.savez(tmp_path / "a.npz", sequences=np.zeros((2, 3, 1)), label=["a", "b"])
    path = str(tmp_path / "a.npz")
    with pytest.raises(UserError) as caught:
        list(stream_texts(DataConfig(path)))
    reason = "column 'sequence' holds vectors, and pretraining reads texts"
    assert str(caught.value) == f"{path}: {reason}; name another column with --data.text-column."
