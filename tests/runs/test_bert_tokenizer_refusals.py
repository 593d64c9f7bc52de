"""A tokenizer whose files contradict each other, or that is not BERT's, is refused."""

from pathlib import Path
from typing import Any

import pytest
from tokenizer_folders import (
    NEXT,
    VOCABULARY,
    added,
    change_file,
    decoder,
    ids_of,
    ids_of_transformers,
    write_folder,
)

from selfattn_lm import UserError
from selfattn_lm.runs.hf.tokenizer import read_tokenizer, write_tokenizer


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("normalizer", None),
        ("normalizer", {"type": "Lowercase"}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("max_input_chars_per_word", 20),
        ("continuing_subword_prefix", ""),
        ("model", {"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[UNK]"}),
    ],
)
def test_a_file_that_is_not_of_its_class_is_refused_and_read_with_the_class_of_files(
    part: str, value: Any, tmp_path: Path
) -> None:
    write_folder(tmp_path, "tokenizer.json")
    change_file(tmp_path, part, value)
    with pytest.raises(UserError) as refused:
        read_tokenizer(tmp_path)
    reason = f"its {part} is not that of a BertTokenizer"
    advice = "name PreTrainedTokenizerFast in tokenizer_config.json"
    assert str(refused.value) == (
        f"{tmp_path / 'tokenizer.json'}: {reason}; if tokenizer.json is right, {advice}."
    )
    options = '{"tokenizer_class": "PreTrainedTokenizerFast"}'
    (tmp_path / "tokenizer_config.json").write_text(options)
    tokenizer = read_tokenizer(tmp_path)
    assert ids_of(tokenizer) == ids_of_transformers(tmp_path)
    write_folder(tmp_path / "written", "")
    write_tokenizer(tokenizer, 64, tmp_path / "written")
    assert ids_of_transformers(tmp_path / "written") == ids_of(tokenizer)


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "vocab.txt",
        {"tokenizer_class": "BertJapaneseTokenizer"},
        {},
        ": tokenizer_class 'BertJapaneseTokenizer' is not supported (supported: BertTokenizer, "
        "DistilBertTokenizer, ElectraTokenizer, PreTrainedTokenizerFast).",
    ),
    (
        "vocab.txt",
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        {},
        ": tokenizer.json is not there; download the tokenizer too.",
    ),
    ("vocab.txt", {"cls_token": "<s>"}, {}, ": cls_token is <s>, and only [CLS] is supported."),
    ("vocab.txt", {"mask_token": None}, {}, ": mask_token is None, and only [MASK] is supported."),
    (
        "vocab.txt",
        {},
        {"special_tokens_map": {"unk_token": {"content": "<unk>"}}},
        ": unk_token is <unk>, and only [UNK] is supported.",
    ),
    (
        "vocab.txt",
        {"do_lower_case": "no"},
        {},
        "/tokenizer_config.json: do_lower_case: 'no' is not true or false.",
    ),
    (
        "vocab.txt",
        {},
        {"added_tokens": {"@user": NEXT + 3}},
        f": the added token '@user' has the id {NEXT + 3} in the tokenizer's files, "
        f"but {NEXT} after the vocabulary; they do not belong together.",
    ),
    (
        "vocab.txt",
        {"added_tokens_decoder": {"5": added("@user")}},
        {},
        ": the added token '@user' has the id 5 in the tokenizer's files, "
        f"but {NEXT} after the vocabulary; they do not belong together.",
    ),
    (
        "vocab.txt",
        {"additional_special_tokens": ["<url>"]},
        {"special_tokens_map": {"additional_special_tokens": ["@user"]}},
        ": tokenizer_config.json and special_tokens_map.json list different additional special "
        "tokens; correct one of them.",
    ),
    (
        "tokenizer.json",
        decoder(),
        {"in_file": (added("@user"),)},
        "/tokenizer.json: its added token '@user' is not in the added_tokens_decoder of "
        "tokenizer_config.json; correct one of the files.",
    ),
    (
        "vocab.txt",
        {"additional_special_tokens": [7]},
        {},
        ": '7' is not a token of the tokenizer's files.",
    ),
    ("", {}, {}, ": neither tokenizer.json nor vocab.txt is there; download the tokenizer too."),
]


@pytest.mark.parametrize(("form", "options", "files", "message"), REFUSED)
def test_a_tokenizer_that_cannot_be_read_whole_is_refused(
    form: str, options: dict[str, Any], files: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_folder(tmp_path, form, options, **files)
    with pytest.raises(UserError) as refused:
        read_tokenizer(tmp_path)
    assert str(refused.value) == f"{tmp_path}{message}"


def test_a_file_without_its_special_tokens_around_a_text_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, "tokenizer.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    change_file(tmp_path, "post_processor", None)
    with pytest.raises(UserError) as refused:
        read_tokenizer(tmp_path)
    reason = "it puts nothing around a text, and not [CLS] and [SEP]"
    assert str(refused.value) == (f"{tmp_path / 'tokenizer.json'}: {reason}, so it is not BERT's.")


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ({"added_tokens_decoder": ["@user"]}, {}),
        ({"added_tokens_decoder": {"x": "@user"}}, {}),
        ({}, {"added_tokens": {"@user": "x", "<url>": 5}}),
        ({"additional_special_tokens": 5}, {}),
        ({}, {"tokenizer": {"model": {"vocab": ["a"]}}}),
    ],
)
def test_nonsense_in_the_files_is_no_traceback(
    options: dict[str, Any], files: dict[str, Any], tmp_path: Path
) -> None:
    write_folder(tmp_path, "vocab.txt", options, **files)
    with pytest.raises(
        UserError, match=r"^.*: (its files cannot be read as a tokenizer|its normalizer is not)"
    ):
        read_tokenizer(tmp_path)
