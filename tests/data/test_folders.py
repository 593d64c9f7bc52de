import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers import sentences, write_csv

from selfattn_lm import evaluate
from selfattn_lm.config import DataConfig
from selfattn_lm.data.examples import Split
from selfattn_lm.data.sources import load_split, load_splits, stream_texts
from selfattn_lm.errors import UserError


def texts(folder: Path, *names: str) -> Path:
    """Write a file for each name, such as `train/pos/1.txt`, that holds its own name.

    A name that ends in / makes an empty folder.
    """
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, encoding="utf-8")
    return folder


def acl_imdb(folder: Path) -> Path:
    """Write the files of the unpacked archive of IMDB reviews, with two texts per folder."""
    texts(folder, "README", "imdb.vocab", "imdbEr.txt")
    for name in ("train/pos", "train/neg", "train/unsup", "test/pos", "test/neg"):
        texts(folder, f"{name}/0_9.txt", f"{name}/1_7.txt")
    for split in ("train", "test"):
        texts(folder, f"{split}/urls_pos.txt", f"{split}/urls_neg.txt", f"{split}/labeledBow.feat")
    return texts(folder, "train/urls_unsup.txt", "train/unsupBow.feat")


def load(source: Path, **config: Any) -> dict[str, Split]:
    return load_splits(DataConfig(str(source), **config))


def read(source: Path, **config: Any) -> dict[str, list[tuple[str, str]]]:
    rows: dict[str, list[tuple[str, str]]] = {}
    for name, split in load(source, **config).items():
        rows[name] = list(zip(split.texts, split.targets, strict=True))
    return rows


def counts(source: Path, **config: Any) -> dict[str, dict[str, int]]:
    return {name: dict(Counter(split.targets)) for name, split in load(source, **config).items()}


def refusal(source: Path, **config: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(source, **config)
    return str(caught.value)


def mixture(folder: Path, splits: str, others: str) -> str:
    return (
        f"{folder}: folders named after splits ({splits}) beside others that hold texts ({others});"
        " keep only splits or only labels in the folder, name splits with --data.validation and"
        " --data.test, or name a file with all texts and their labels."
    )


UNLABELLED = (
    "the texts in unsup have no label, so they are left out (if 'unsup' is a label, rename its"
    " folder)"
)


def test_the_archive_of_imdb_is_read_as_it_is_unpacked(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    data = acl_imdb(tmp_path)
    splits = read(data)
    assert list(splits) == ["test", "train"]
    for name, rows in splits.items():
        assert rows == [
            (f"{name}/neg/0_9.txt", "neg"),
            (f"{name}/neg/1_7.txt", "neg"),
            (f"{name}/pos/0_9.txt", "pos"),
            (f"{name}/pos/1_7.txt", "pos"),
        ]
    assert said.messages == [
        f"{data / 'train'}: {UNLABELLED}",
        f"{data}: skipped README, imdb.vocab, imdbEr.txt, test/labeledBow.feat, test/urls_neg.txt,"
        " test/urls_pos.txt, train/labeledBow.feat, train/unsupBow.feat and 3 more",
    ]


def test_one_split_of_the_archive_may_be_named_by_its_folder(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    data = acl_imdb(tmp_path)
    both = {"neg": 2, "pos": 2}
    assert counts(data / "train", test=str(data / "test")) == {"train": both, "test": both}
    assert f"{data / 'train'}: {UNLABELLED}" in said.messages
    split = load_split(DataConfig(str(data / "test")), None)
    assert split == load_split(DataConfig(str(data)), "test")


def test_texts_in_folders_are_evaluated_like_those_in_a_file(
    data: Path, run: Path, tmp_path: Path
) -> None:
    for i, (text, label) in enumerate(sentences(60, seed=2)):  # the test split of `data`
        texts(tmp_path, f"test/{label}/{i}.txt")
        (tmp_path / "test" / label / f"{i}.txt").write_text(text, encoding="utf-8")
    expected = evaluate(run, str(data)).values["accuracy"]
    assert evaluate(run, str(tmp_path)).values["accuracy"] == expected
    assert evaluate(run, str(tmp_path / "test")).values["accuracy"] == expected


def test_texts_without_a_label_are_pretrained_on(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    data = acl_imdb(tmp_path)
    found = list(stream_texts(DataConfig(str(data))))
    assert found == [
        "train/neg/0_9.txt",
        "train/neg/1_7.txt",
        "train/pos/0_9.txt",
        "train/pos/1_7.txt",
        "train/unsup/0_9.txt",
        "train/unsup/1_7.txt",
    ]
    assert list(stream_texts(DataConfig(str(data / "train")))) == found
    list(stream_texts(DataConfig(str(data))))  # a second pass does not repeat the warning
    of_the_archive, of_train = said.messages
    assert of_the_archive.startswith(f"{data}: skipped ")
    assert of_train.startswith(f"{data / 'train'}: skipped ")


@pytest.mark.parametrize("name", ["unsup", "Unlabeled", "unlabelled", "unsupervised"])
def test_unlabelled_texts_beside_splits_are_left_out_and_pretrained_on(
    name: str, tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    texts(tmp_path, "train/pos/1.txt", "train/neg/1.txt", "test/pos/1.txt", f"{name}/1.txt")
    assert counts(tmp_path) == {"train": {"neg": 1, "pos": 1}, "test": {"pos": 1}}
    assert said.messages[0].startswith(
        f"{tmp_path}: the texts in {name} have no label, so they are left out"
    )
    assert list(stream_texts(DataConfig(str(tmp_path))))[-1] == f"{name}/1.txt"


def test_a_label_that_only_train_has_is_kept_with_a_warning(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    texts(tmp_path, "train/pos/1.txt", "train/neg/1.txt", "train/rare/1.txt")
    texts(tmp_path, "test/pos/1.txt", "dev/neg/1.txt")
    assert counts(tmp_path)["train"] == {"neg": 1, "pos": 1, "rare": 1}
    assert said.messages == [
        f"{tmp_path}: label folders only in train, so nothing tests them: rare"
    ]


@pytest.mark.parametrize(
    ("names", "splits", "others"),
    [
        (["train/1.txt", "bus/1.txt", "car/1.txt"], "train", "bus, car"),
        (["pos/1.txt", "neg/1.txt", "test/pos/1.txt", "test/neg/1.txt"], "test", "neg, pos"),
        (["train/pos/1.txt", "test/pos/1.txt", "extra/pos/1.txt"], "test, train", "extra"),
        (["Train/a.csv", "extra/1.txt"], "Train", "extra"),
    ],
)
def test_splits_beside_other_folders_of_texts_are_refused(
    names: list[str], splits: str, others: str, tmp_path: Path
) -> None:
    assert refusal(texts(tmp_path, *names)) == mixture(tmp_path, splits, others)
    with pytest.raises(UserError, match="folders named after splits"):
        list(stream_texts(DataConfig(str(tmp_path))))


def test_a_split_that_is_given_is_not_looked_for(tmp_path: Path) -> None:
    texts(tmp_path, "pos/1.txt", "neg/1.txt", "test/pos/1.txt", "test/neg/1.txt")
    both = {"neg": 1, "pos": 1}
    assert counts(tmp_path, test=str(tmp_path / "test")) == {"train": both, "test": both}


def test_texts_in_split_folders_without_label_folders_are_refused(tmp_path: Path) -> None:
    texts(tmp_path, "train/1.txt", "train/2.txt", "test/1.txt")
    assert refusal(tmp_path) == (
        f"{tmp_path}: texts without label folders in test and train; put the texts of each label"
        " into a folder of their own, such as test/pos, and rename a folder that is itself a label."
    )
    assert list(stream_texts(DataConfig(str(tmp_path)))) == ["train/1.txt", "train/2.txt"]


def test_a_test_folder_whose_texts_have_no_label_is_left_out(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    texts(tmp_path, "train/pos/1.txt", "train/neg/1.txt", "test/1.txt")
    assert list(load(tmp_path)) == ["train"]
    assert said.messages == [f"{tmp_path / 'test'}: its texts have no labels, so it is left out"]


def test_folders_of_splits_are_found_in_any_case(tmp_path: Path) -> None:
    texts(tmp_path, "Train/pos/1.txt", "TEST/pos/1.txt", "Dev/neg/1.txt")
    assert sorted(load(tmp_path)) == ["test", "train", "validation"]


def test_two_folders_for_one_split_are_refused_unless_one_is_empty(tmp_path: Path) -> None:
    texts(tmp_path, "train/pos/1.txt", "val/", "dev/neg/1.txt")
    assert sorted(load(tmp_path)) == ["train", "validation"]
    texts(tmp_path, "val/neg/1.txt")
    assert refusal(tmp_path) == f"{tmp_path}: dev and val are both the validation split; keep one."


def test_a_folder_of_files_for_each_split_is_read_with_its_file_in_messages(tmp_path: Path) -> None:
    write_csv(tmp_path / "train" / "a.csv", [("an apple", "fruit")])
    write_csv(tmp_path / "train" / "b.csv", [("tin", "metal")])
    write_csv(tmp_path / "test" / "all.csv", [("zinc", "metal")])
    texts(tmp_path, "train/notes.txt")
    assert read(tmp_path) == {
        "test": [("zinc", "metal")],
        "train": [("an apple", "fruit"), ("tin", "metal")],
    }
    assert load(tmp_path)["test"].source == str(tmp_path / "test" / "all.csv")
    write_csv(tmp_path / "train" / "b.csv", [("tin", "")])
    place = f"{tmp_path / 'train'}, b.csv, row 1 (line 2)"
    message = f"{place}: no label in column 'label'; fill it in or remove the row."
    assert refusal(tmp_path) == message
    texts(tmp_path, "train/c.tsv")
    message = f"{tmp_path / 'train'}: holds files of several formats (csv, tsv); keep one of them."
    assert refusal(tmp_path) == message


def test_files_named_after_splits_win_over_folders_with_a_warning(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    write_csv(tmp_path / "TRAIN.csv", [("tin", "metal")])
    texts(tmp_path, "train/pos/1.txt", "notes/1.txt")
    assert read(tmp_path) == {"train": [("tin", "metal")]}
    assert said.messages == [
        f"{tmp_path}: ignored notes (not named train, validation or test)",
        f"{tmp_path}: ignored folders (train) in favour of files (TRAIN.csv)",
    ]


def test_hidden_names_are_skipped_with_a_warning(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    texts(tmp_path, "pos/1.txt", "neg/2.TXT", "empty/")
    texts(tmp_path, ".ipynb_checkpoints/1.txt", "__MACOSX/pos/1.txt")
    texts(tmp_path, "pos/.DS_Store", "pos/.ipynb_checkpoints/1.txt", "pos/more/1.txt", "neg/3.md")
    (tmp_path / "neg" / "._2.txt").write_bytes(b"\x00\xff\xfe")
    (tmp_path / "neg" / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    assert read(tmp_path) == {"train": [("neg/2.TXT", "neg"), ("pos/1.txt", "pos")]}
    assert said.messages == [
        f"{tmp_path}: skipped .ipynb_checkpoints, __MACOSX, empty, neg/._2.txt, neg/3.md,"
        " neg/gone.txt, pos/.DS_Store, pos/.ipynb_checkpoints and 1 more"
    ]


def test_a_hidden_file_is_not_a_split(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    write_csv(tmp_path / "train.csv", [("tin", "metal")])
    (tmp_path / "._train.csv").write_bytes(b"\x00\xff\xfe")
    texts(tmp_path, ".ipynb_checkpoints/1.txt")
    assert read(tmp_path) == {"train": [("tin", "metal")]}
    assert said.messages == []


def test_a_linked_folder_is_read_like_any_other(tmp_path: Path) -> None:
    texts(tmp_path, "elsewhere/pos/1.txt", "elsewhere/neg/1.txt")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "elsewhere")
    assert counts(tmp_path / "data") == {"train": {"neg": 1, "pos": 1}}


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are always text here")
def test_a_label_folder_whose_name_is_not_text_is_refused(tmp_path: Path) -> None:
    texts(tmp_path, "x/1.txt", "y/1.txt", "caf\udce9/")
    (tmp_path / "caf\udce9" / "1.txt").touch()
    reason = "the name is a label, but not valid UTF-8; rename the folder."
    assert refusal(tmp_path).endswith(f": {reason}")


def test_a_message_suggests_the_only_inner_folder_with_data(tmp_path: Path) -> None:
    texts(tmp_path, "inner/train/pos/1.txt", "inner/train/neg/1.txt")
    reason = "no train file (such as train.csv) and no label folders of .txt files; found inner"
    assert refusal(tmp_path) == f"{tmp_path}: {reason}. Did you mean {tmp_path / 'inner'}?"


def test_a_split_that_is_given_must_be_one(tmp_path: Path) -> None:
    data = acl_imdb(tmp_path / "data")
    message = f"{data}: holds splits itself (test, train); name the file or folder of one."
    assert refusal(data / "train", test=str(data)) == message
    (tmp_path / "empty").mkdir()
    message = f"{tmp_path / 'empty'}: no data file and no label folders of .txt files."
    assert refusal(data / "train", validation=str(tmp_path / "empty")) == message


def test_a_label_in_a_file_may_be_called_like_a_split(tmp_path: Path) -> None:
    rows = [("it stops", "train"), ("it honks", "bus"), ("it parks", "car"), ("it rings", "test")]
    assert read(write_csv(tmp_path / "vehicles.csv", rows)) == {"train": rows}
