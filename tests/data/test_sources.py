import argparse
import csv
import doctest
import json
import pdb
import re
import shutil
import string
import textwrap
import timeit
import traceback
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import assert_says, sentences, write_csv

from selfattn_lm.config import DataConfig
from selfattn_lm.data import stdlib_docs
from selfattn_lm.data.examples import Split
from selfattn_lm.data.listing import SPLITS
from selfattn_lm.data.sources import load_split, load_splits, split_in_memory
from selfattn_lm.errors import UserError
from selfattn_lm.tasks import choose_task

ROWS: list[tuple[str, ...]] = [
    ("an apple", "fruit"),
    ("a pear", "fruit"),
    ("tin", "metal"),
    ("zinc", "metal"),
]
NO_LABEL = "no label in column 'label'; fill it in or remove the row."


def load(source: Path | str, **config: Any) -> dict[str, Split]:
    return load_splits(DataConfig(str(source), **config))


def refusal(source: Path | str, **config: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(source, **config)
    return str(caught.value)


def pairs(split: Split) -> list[tuple[str, str]]:
    return list(zip(split.texts, split.targets, strict=True))


def texts_in_folders(folder: Path, *labels: str) -> Path:
    for label in labels:
        (folder / label).mkdir(parents=True)
        for i in (1, 2):
            (folder / label / f"{i}.txt").write_text(
                f"{folder.name} {label} {i}\n", encoding="utf-8"
            )
    return folder


def test_a_single_file_is_the_training_split(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ROWS)
    splits = load(path)
    assert list(splits) == ["train"]
    assert pairs(splits["train"]) == ROWS
    assert splits["train"].source == str(path)


def test_validation_and_test_files_may_be_named(tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / f"{name}.csv", ROWS[i:]) for i, name in enumerate("abc")]
    splits = load(paths[0], validation=str(paths[1]), test=str(paths[2]))
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 4,
        "validation": 3,
        "test": 2,
    }


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_files_of_a_folder_are_splits_by_their_names(name: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", ROWS)
    if name != "train":
        lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS[:3]]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        assert pairs(load(tmp_path)[SPLITS[name]]) == ROWS[:3]
    assert pairs(load(tmp_path)["train"]) == ROWS


def test_other_files_of_a_folder_are_named_as_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("train", "oos_test", "test_small", "extra"):
        write_csv(tmp_path / f"{name}.csv", ROWS)
    assert list(load(tmp_path)) == ["train"]
    ignored = f"{tmp_path}: ignored extra.csv, oos_test.csv, test_small.csv (not named train, validation or test)"
    assert caplog.messages == [ignored]


def test_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train", "dev", "valid"):
        write_csv(tmp_path / f"{name}.csv", ROWS)
    assert (
        refusal(tmp_path)
        == f"{tmp_path}: dev.csv and valid.csv are both the validation split; keep one."
    )


def test_a_folder_of_texts_for_each_label_is_read(tmp_path: Path) -> None:
    texts_in_folders(tmp_path / "reviews", "pos", "neg")
    assert pairs(load(tmp_path / "reviews")["train"]) == [
        (f"reviews {label} {i}", label) for label in ("neg", "pos") for i in (1, 2)
    ]


def test_a_folder_of_texts_for_each_label_may_stand_in_folders_of_splits(tmp_path: Path) -> None:
    texts_in_folders(tmp_path / "train", "pos", "neg")
    texts_in_folders(tmp_path / "test", "pos", "neg")
    splits = load(tmp_path)
    assert sorted(splits) == ["test", "train"]
    assert pairs(splits["test"])[-1] == ("test pos 2", "pos")


def test_a_text_file_that_is_not_utf_8_is_refused_by_name(tmp_path: Path) -> None:
    path = texts_in_folders(tmp_path, "pos", "neg") / "pos" / "2.txt"
    path.write_bytes(b"caf\xe9")
    assert refusal(tmp_path) == f"{path}: not UTF-8 at byte 3; save the file as UTF-8."


def test_a_folder_in_the_layout_of_the_hub_gives_labels_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "of_the_hub"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("# A data set\n", encoding="utf-8")
    names = ["metal", "fruit"]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    for split, rows in (("train", ROWS), ("test", ROWS[1:3])):
        columns: dict[str, Any] = {
            "text": [row[0] for row in rows],
            "label": [names.index(row[1]) for row in rows],
        }
        made = datasets.Dataset.from_dict(columns, features=features)
        made.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    splits = load(folder)
    assert {name: pairs(split) for name, split in splits.items()} == {
        "train": ROWS,
        "test": ROWS[1:3],
    }


def test_a_split_of_the_hub_whose_labels_are_withheld_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for split, labels in (("train", [0, 1]), ("test", [-1, -1])):
        made = datasets.Dataset.from_dict({"text": ["a", "b"], "label": labels}, features=features)
        made.to_parquet(tmp_path / "hub" / "data" / f"{split}-00000-of-00001.parquet")
    assert {name: pairs(split) for name, split in load(tmp_path / "hub").items()} == {
        "train": [("a", "no"), ("b", "yes")]
    }
    assert caplog.messages == [
        f"{tmp_path / 'hub'} test: its labels are withheld, so it is left out"
    ]


def test_a_hub_name_that_cannot_be_reached_is_refused_in_one_sentence() -> None:
    message = refusal("nobody/no-such-data")
    beginning = (
        "nobody/no-such-data: not a local file or folder, and the hub could not be reached ("
    )
    ending = "); check the connection, or download the dataset and name its folder."
    assert re.fullmatch(re.escape(beginning) + r"\w+" + re.escape(ending), message), message


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    nothing = f"{tmp_path}/none.csv"
    assert (
        refusal(nothing)
        == f"{nothing}: no such file or folder, and not a hub name of the form owner/name."
    )
    message = "data/none.csv: no such file or folder, and not a hub name of the form owner/name."
    assert refusal("data/none.csv") == message


@pytest.mark.parametrize(("name", "found"), [("", "nothing"), ("notes.docx", "notes.docx")])
def test_a_folder_without_data_is_refused_with_what_is_there(
    name: str, found: str, tmp_path: Path
) -> None:
    if name:
        (tmp_path / name).touch()
    expected = f"{tmp_path}: no train file (such as train.csv) and no label folders of .txt files; found {found}."
    assert refusal(tmp_path) == expected


def test_a_folder_without_train_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "test.csv", ROWS)
    assert refusal(tmp_path) == f"{tmp_path}: no train split; found test."
    with pytest.raises(UserError) as caught:
        load_split(DataConfig(str(tmp_path)), "validation")
    assert (
        str(caught.value)
        == f"{tmp_path}: no validation split; found test. Use --split or name a file."
    )


@pytest.mark.parametrize(
    ("header", "config", "message"),
    [
        (("a", "b"), {}, "no text column; found 'a', 'b'. Name one with --data.text-column."),
        (
            ("text", "b"),
            {},
            "no label column; found 'text', 'b'. Name one with --data.label-column.",
        ),
        (
            ("text", "b"),
            {"text_column": "body"},
            "no column 'body'; found 'text', 'b'. Use --data.text-column.",
        ),
        (
            ("text", "b"),
            {"label_column": "c"},
            "no column 'c'; found 'text', 'b'. Use --data.label-column.",
        ),
        (
            ("text", "b"),
            {"text_column": "text,d"},
            "no column 'd'; found 'text', 'b'. Use --data.text-column.",
        ),
    ],
)
def test_a_missing_column_is_refused_with_those_that_are_there(
    header: tuple[str, ...], config: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", ROWS, header)
    assert refusal(path, **config) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Sentence", "Sentiment"),
        ("review", "stars"),
        ("utterance", "intent"),
        ("headline", "category"),
    ],
)
def test_columns_of_common_names_are_found(text: str, label: str, tmp_path: Path) -> None:
    rows = [("7", *row) for row in ROWS]
    assert pairs(load(write_csv(tmp_path / "a.csv", rows, ("id", text, label)))["train"]) == ROWS


def test_several_text_columns_are_joined(tmp_path: Path) -> None:
    rows = [("x", "Gold", "It shines."), ("y", "", "It rains.")]
    path = write_csv(tmp_path / "a.csv", rows, ("class", "title", "description"))
    split = load(path, text_column="title,description")["train"]
    assert pairs(split) == [("Gold\nIt shines.", "x"), ("It rains.", "y")]
    assert split.text_columns == ("title", "description")


def test_labels_that_are_numbers_are_sorted_as_numbers() -> None:
    train = Split.from_lists("a", list("abcdefgh"), ["10", "2", "1", "-1"] * 2)
    assert choose_task({"train": train}).names == ["-1", "1", "2", "10"]
    test = Split.from_lists("b", ["a"], ["x"])
    names = choose_task({"train": train, "test": test}).names
    assert names == ["-1", "1", "10", "2", "x"]


@pytest.mark.parametrize(("labels", "names"), [([2, 10], ["2", "10"]), ([2.0, 10.0], ["2", "10"])])
def test_labels_of_a_parquet_file_may_be_numbers(
    labels: list[Any], names: list[str], tmp_path: Path
) -> None:
    pq.write_table(pa.table({"text": list("abcd"), "label": labels * 2}), tmp_path / "a.parquet")
    assert choose_task(load(tmp_path / "a.parquet")).names == names


def test_rows_without_a_text_are_counted(tmp_path: Path) -> None:
    split = load(
        write_csv(tmp_path / "a.csv", [*ROWS, ("", "metal"), (" \n ", "fruit"), ("", "")])
    )["train"]
    assert (len(split), split.n_empty) == (4, 3)
    assert (
        refusal(write_csv(tmp_path / "b.csv", [("", "x")]))
        == f"{tmp_path / 'b.csv'}: no row has a text."
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("aaaa", "every row has the label 'a'; a classifier needs two or more."),
        (
            "abcd",
            "4 rows for 4 labels; give several rows per label, or"
            " name the right column with --data.label-column.",
        ),
    ],
)
def test_labels_that_leave_nothing_to_learn_are_refused(labels: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        choose_task({"train": Split.from_lists("a.csv", list("wxyz"), list(labels))})
    assert str(caught.value) == f"a.csv: {message}"


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("a.jsonl", '{"text": "a", "label": 1e999}', ", row 1: inf in column 'label' is not a label; fix or remove the"
         " row."),
        ("a.csv", "text,label\na,x\nb,\n", f", row 2 (line 3): {NO_LABEL}"),
        ("a.jsonl", '{"text": "a", "label": null}', f", row 1: {NO_LABEL}"),
        ("a.csv", "text,label\na,x\nb, y,z\n", ", row 2 (line 3): 3 fields where the header has 2; fix or remove the"
         " row."),
        ("a.csv", 'text,label\n"a\na",x\n"b"b,y\n', ", row 2 (line 4): broken line: …; fix or remove the row."),
        ("a.jsonl", '{"text": "a", "label": "x"}\n\n{"text": 7, "label": "y"}', ", row 2 (line 3): column 'text' holds"
         " 7, not a text; write it as a string."),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b"}', ", row 2: no column 'label'; found 'text'."),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_refused_with_its_number(
    name: str, contents: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(contents, encoding="utf-8")
    assert_says(refusal(path), f"{path}{message}")


def test_texts_in_memory_are_held_to_the_same_rules() -> None:
    split = split_in_memory("texts", ["a", " "], [1, 2])
    assert split == Split.from_lists("texts", ["a"], ["1"], n_empty=1, integer_labels=True)
    with pytest.raises(UserError, match=r"^texts: 2 texts but 1 label; give one label per text\.$"):
        split_in_memory("texts", ["a", "b"], ["x"])


def test_the_fingerprint_of_a_split_is_that_of_its_rows_in_their_order() -> None:
    split = Split.from_lists("a", *map(list, zip(*sentences(30), strict=True)))
    facts = split.describe()
    assert facts["rows"] == 30
    assert facts == split.select(range(30)).describe()
    assert facts["sha256"] != split.select(reversed(range(30))).describe()["sha256"]


def test_the_embedded_corpus_has_every_topic_in_every_split_and_no_text_twice() -> None:
    splits = stdlib_docs.load()
    assert list(splits) == ["train", "validation", "test"]
    for rows in splits.values():
        assert {topic for _, topic in rows} == set(stdlib_docs.TOPICS)
    texts = [text.lower() for rows in splits.values() for text, _ in rows]
    assert len(set(texts)) == len(texts) > 5000
    assert len(splits["train"]) > len(splits["test"]) > len(splits["validation"])


def test_the_embedded_corpus_is_the_same_each_time(tmp_path: Path) -> None:
    for module in (argparse, string, textwrap, csv, doctest, pdb, traceback, timeit):
        shutil.copy(str(module.__file__), tmp_path)
    first = stdlib_docs.load(tmp_path)
    assert {topic for rows in first.values() for _, topic in rows} == {"testing", "text"}
    stdlib_docs.load.cache_clear()
    assert stdlib_docs.load(tmp_path) == first


def test_an_interpreter_without_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        stdlib_docs.load(tmp_path)
    message = f"stdlib-docs: this interpreter has no sources of its standard library in {tmp_path}; name a data file."
    assert str(caught.value) == message


def test_a_file_has_no_splits_and_is_not_asked_for_one(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", [("one", "x"), ("two", "y")])
    assert load_split(DataConfig(str(file)), None).texts == ["one", "two"]
    for name in ("nonsense", "test", "train"):
        message = f"{file}: a file has no splits; leave out --split {name}, or name a folder."
        with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
            load_split(DataConfig(str(file)), name)


def test_a_split_is_found_by_each_of_its_names_and_is_test_by_default(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        write_csv(tmp_path / f"{name}.csv", [(f"of {name}", "x")])
    config = DataConfig(str(tmp_path))
    assert load_split(config, None).texts == ["of test"]
    for name in ("validation", "valid", "val", "dev"):
        assert load_split(config, name).texts == ["of dev"]
    message = (
        f"{tmp_path}: no nonsense split; found validation, test, train. Use --split or name a file."
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        load_split(config, "nonsense")


def test_standard_input_is_no_source_of_training() -> None:
    with pytest.raises(UserError) as caught:
        load_splits(DataConfig("-"))
    assert str(caught.value) == (
        "-: only the FILE of `selfattn predict` may be standard input; name a file, a folder or a"
        " hub name."
    )
