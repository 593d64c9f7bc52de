"""Token ids that are kept on the disk."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from helpers import assert_says, tokenizer_config

from selfattn_lm.config import ResolvedTokenizer, Settings
from selfattn_lm.data.sources import split_in_memory
from selfattn_lm.features import cache
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.features.tokenizer import train_tokenizer
from selfattn_lm.training.data import prepare

TEXTS = ["iron and gold", "the river", "a plum on ice with steam", "", "rain"] * 4
CONFIG = tokenizer_config(vocab_size=60)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, used from few texts on."""
    monkeypatch.setenv("SELFATTN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "MANY", 10)
    return tmp_path / "cache"


def rows(tokens: TokenizedTexts) -> list[list[int]]:
    """The ids of each text."""
    return [tokens[i].tolist() for i in range(len(tokens))]


def computed(max_length: int = 8) -> list[list[int]]:
    """What comes without a cache."""
    return rows(TokenizedTexts.from_texts(train_tokenizer(TEXTS, CONFIG), TEXTS, max_length))


def never(*args: object) -> None:
    """Must not be called."""
    raise AssertionError("tokenized again")


def test_the_ids_come_from_the_disk_the_second_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cache.tokenize(TEXTS, CONFIG, None, 8)
    monkeypatch.setattr(cache, "_compute", never)
    second = cache.tokenize(TEXTS, CONFIG, None, 8)
    assert rows(first[1]) == rows(second[1]) == computed()
    assert first[0].to_str() == second[0].to_str()
    np.testing.assert_array_equal(first[1].full_lengths, second[1].full_lengths)
    # Nothing half written is left.
    assert [entry.name.startswith(".") for entry in place.iterdir()] == [False]


@pytest.mark.parametrize(
    "other",
    [([*TEXTS, "iron"], CONFIG, 8), (TEXTS[::-1], CONFIG, 8), (TEXTS, tokenizer_config(vocab_size=61), 8),
     (TEXTS, CONFIG, 5), ([f"{TEXTS[0]} {TEXTS[1]}", "", *TEXTS[2:]], CONFIG, 8)],
)  # fmt: skip
def test_other_texts_settings_or_lengths_are_other_entries(
    place: Path, other: tuple[list[str], ResolvedTokenizer, int]
) -> None:
    cache.tokenize(TEXTS, CONFIG, None, 8)
    cache.tokenize(other[0], other[1], None, other[2])
    assert len(list(place.iterdir())) == 2


def test_a_tokenizer_that_is_given_has_entries_of_its_own(place: Path) -> None:
    tokenizer = train_tokenizer(TEXTS[:2], CONFIG)
    for _ in range(2):
        found, tokens = cache.tokenize(TEXTS, CONFIG, tokenizer, 8)
        assert found.to_str() == tokenizer.to_str()
        assert rows(tokens) == rows(TokenizedTexts.from_texts(tokenizer, TEXTS, 8))
    assert len(list(place.iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "other"])
@pytest.mark.parametrize("file", ["tokenizer.json", "counts.npy", "ids.int32"])
def test_a_broken_entry_is_told_and_made_again(
    place: Path, file: str, damage: str, said: pytest.LogCaptureFixture
) -> None:
    cache.tokenize(TEXTS, CONFIG, None, 8)
    (entry,) = place.iterdir()
    whole = (entry / file).read_bytes()
    (entry / file).unlink()
    if damage != "gone":
        others = {"cut": whole[: len(whole) // 8 * 4], "empty": b"", "other": b"\xff\x00 other"}
        (entry / file).write_bytes(others[damage])
    assert rows(cache.tokenize(TEXTS, CONFIG, None, 8)[1]) == computed()
    (message,) = said.messages
    assert_says(message, f"{entry}: cached token ids cannot be read (…); computing them again")
    assert (entry / file).read_bytes() == whole
    assert list(place.iterdir()) == [entry]


def test_a_mistake_of_ours_is_no_broken_entry(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.tokenize(TEXTS, CONFIG, None, 8)

    def wrong(*args: object) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr(TokenizedTexts, "from_flat", wrong)
    with pytest.raises(TypeError, match="a mistake"):
        cache.tokenize(TEXTS, CONFIG, None, 8)


def test_another_version_of_the_library_has_entries_of_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.tokenize(TEXTS, CONFIG, None, 8)
    monkeypatch.setattr(tokenizers, "__version__", "0.0.0")
    cache.tokenize(TEXTS, CONFIG, None, 8)
    assert len(list(place.iterdir())) == 2


def test_other_labels_of_the_same_texts_use_the_same_entry(place: Path) -> None:
    for labels in (["a", "b"] * 10, ["b", "a"] * 10):
        texts = [text or "dew" for text in TEXTS]
        splits = {name: split_in_memory(name, texts, labels) for name in ("train", "validation")}
        prepare(splits, Settings(), None)
    # An entry for train and one for validation, which gets the tokenizer that train taught.
    assert len(list(place.iterdir())) == 2


def test_processes_may_make_the_same_entry_at_the_same_time(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            found = list(
                pool.map(lambda _: rows(cache.tokenize(TEXTS, CONFIG, None, 8)[1]), range(4))
            )
        assert found == [computed()] * 4
        (entry,) = place.iterdir()
        (entry / "counts.npy").write_bytes(b"broken")
    assert not [message for message in caplog.messages if "cannot write" in message]


def test_where_nothing_can_be_written_nothing_is_kept(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place.write_text("a file stands where the folder would be")
    with caplog.at_level(logging.WARNING):
        assert rows(cache.tokenize(TEXTS, CONFIG, None, 8)[1]) == computed()
    (message,) = caplog.messages
    assert_says(message, f"{place}: cannot write the token cache (…)")


def test_the_entries_used_longest_ago_make_room(place: Path) -> None:
    for i in range(9):
        cache.tokenize([*TEXTS, str(i)], CONFIG, None, 8)
        for entry in place.iterdir():
            os.utime(entry, (entry.stat().st_mtime - 100,) * 2)
    (place / ".left behind").mkdir()
    os.utime(place / ".left behind", (0, 0))
    (place / ".being written").mkdir()
    before = {
        entry.name: entry.stat().st_mtime
        for entry in place.iterdir()
        if not entry.name.startswith(".")
    }
    cache.tokenize([*TEXTS, "one more"], CONFIG, None, 8)
    after = {entry.name for entry in place.iterdir()}
    assert set(before) - after == {min(before, key=lambda name: before[name])}
    assert ".being written" in after
    assert ".left behind" not in after


def test_few_texts_are_not_kept(place: Path) -> None:
    cache.tokenize(TEXTS[:9], CONFIG, None, 8)
    assert not place.exists()
