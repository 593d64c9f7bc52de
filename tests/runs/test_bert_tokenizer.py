"""The ids of a checkpoint's tokenizer are those that `transformers` gives."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tokenizer_folders import (
    NEXT,
    SPECIAL,
    VOCABULARY,
    added,
    decoder,
    ids_of,
    ids_of_transformers,
    transformers,
    write_folder,
)

from selfattn_lm.runs.hf.tokenizer import (
    lowercases,
    read_max_length,
    read_tokenizer,
    strips_accents,
    write_tokenizer,
)

OPTIONS: dict[str, dict[str, Any] | None] = {
    "no options": None,
    "empty options": {},
    "cased": {"do_lower_case": False},
    "uncased with accents": {"do_lower_case": True, "strip_accents": False},
    "cased without accents": {"do_lower_case": False, "strip_accents": True},
    "Chinese characters in words": {
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": False,
    },
    "a fast class": {
        "tokenizer_class": "BertTokenizerFast",
        "do_lower_case": False,
        "tokenize_chinese_chars": False,
    },
    "DistilBERT": {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False},
    "Electra": {
        "tokenizer_class": "ElectraTokenizerFast",
        "do_basic_tokenize": False,
        "never_split": ["iron"],
    },
    "a special token with flags": {
        "model_max_length": 512,
        "cls_token": {"__type": "AddedToken", **added("[CLS]", normalized=True)},
    },
    "options without effect": {
        "unk_token": "[UNK]",
        "mask_token": "[MASK]",
        "clean_up_tokenization_spaces": True,
        "max_len": 12,
    },
    "an older list": {"additional_special_tokens": ["<url>", "@user"]},
    "a list": {"extra_special_tokens": ["[E1]"], "do_lower_case": False},
    "a list with names": {"extra_special_tokens": {"link": "<url>"}, "bos_token": "[CLS]"},
    "a token with its own name": {"user_token": "@user"},
    "a list of plain text": {"additional_special_tokens": ["<url>"], "split_special_tokens": True},
    "a decoder": decoder(added("@user")),
    "a decoder of special tokens": decoder(added("[E1]", special=True, lstrip=True, rstrip=True)),
    "a decoder in capitals": decoder(added("@USER", normalized=True), added("<url")),
}


class Added(NamedTuple):
    """Files with added tokens."""

    form: str
    options: dict[str, Any] | None
    files: dict[str, Any]


ADDED = {
    "in an older file": Added(
        "vocab.txt", None, {"added_tokens": {"@user": NEXT, "<url>": VOCABULARY["<url>"]}}
    ),
    "in an older file, in capitals": Added(
        "vocab.txt", {"do_lower_case": True}, {"added_tokens": {"[E1]": NEXT, "@USER": NEXT + 1}}
    ),
    "in an older file, special": Added(
        "vocab.txt", {"additional_special_tokens": ["[E1]"]}, {"added_tokens": {"[E1]": NEXT}}
    ),
    "in an older map": Added(
        "vocab.txt", None, {"special_tokens_map": {"additional_special_tokens": ["[E1]", "<url>"]}}
    ),
    "in an older map, with ids": Added(
        "vocab.txt",
        {},
        {
            "special_tokens_map": {"additional_special_tokens": ["[E1]"]},
            "added_tokens": {"[E1]": NEXT},
        },
    ),
    "in the file": Added(
        "tokenizer.json", None, {"in_file": (added("@user"), added("<url>", special=True))}
    ),
    "in the file and the decoder": Added(
        "tokenizer.json",
        decoder(added("@user", rstrip=True)),
        {"in_file": (added("@user", rstrip=True),)},
    ),
    "in the file alone": Added(
        "tokenizer.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True},
        {"in_file": (added("@user"), added("[E1]", special=True)), "lowercase": False},
    ),
    "in the file and a list": Added(
        "tokenizer.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["<url>"]},
        {"in_file": (added("@user", single_word=True),)},
    ),
}

# Cases that `transformers` reads as we do since version 5: before, it gave other ids or an error.
READ_SINCE_5 = ("a list", "a token with its own name", "in an older map, with ids")


def skip_before_5(case: str) -> None:
    version = int(transformers.__version__.split(".")[0])
    if version < 5 and case in READ_SINCE_5:
        pytest.skip("transformers reads this otherwise before version 5")


@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json", "vocab.txt and tokenizer.json"])
@pytest.mark.parametrize("case", OPTIONS)
def test_the_options_of_a_tokenizer_are_read_as_transformers_reads_them(
    form: str, case: str, tmp_path: Path
) -> None:
    skip_before_5(case)
    options = OPTIONS[case]
    write_folder(tmp_path, form, options)
    tokenizer = read_tokenizer(tmp_path)
    assert ids_of(tokenizer) == ids_of_transformers(tmp_path)
    options = options or {}
    lowercase = options.get("do_lower_case", True)
    assert lowercases(tokenizer) is lowercase
    strip_accents = options.get("strip_accents")
    if strip_accents is None:
        strip_accents = lowercase
    assert strips_accents(tokenizer) is strip_accents


@pytest.mark.parametrize("case", ADDED)
def test_added_tokens_are_found_in_texts_as_transformers_finds_them(
    case: str, tmp_path: Path
) -> None:
    skip_before_5(case)
    form, options, files = ADDED[case]
    write_folder(tmp_path, form, options, **files)
    tokenizer = read_tokenizer(tmp_path)
    found = ids_of(tokenizer)
    assert found == ids_of_transformers(tmp_path)
    all_ids = set().union(*found)
    assert VOCABULARY["<url>"] in all_ids or NEXT in all_ids


@pytest.mark.parametrize("case", [*ADDED, *OPTIONS])
def test_what_is_written_gives_the_same_ids_in_transformers(case: str, tmp_path: Path) -> None:
    if case in ADDED:
        form, options, files = ADDED[case]
    else:
        form, options, files = "vocab.txt", OPTIONS[case], {}
    write_folder(tmp_path / "read", form, options, **files)
    tokenizer = read_tokenizer(tmp_path / "read")
    written = tmp_path / "written"
    write_folder(written, "")
    write_tokenizer(tokenizer, 64, written)
    assert ids_of_transformers(written) == ids_of(tokenizer)
    assert ids_of(read_tokenizer(written)) == ids_of(tokenizer)
    assert read_max_length(written) == 64


def test_a_vocabulary_with_gaps_or_foreign_line_ends_keeps_its_ids(tmp_path: Path) -> None:
    read, written = tmp_path / "read", tmp_path / "written"
    write_folder(read, "")
    tokens = [*VOCABULARY, "iron", "new", "##x"]  # the last of two equal lines counts
    (read / "vocab.txt").write_bytes("\r\n".join(tokens).encode())
    tokenizer = read_tokenizer(read)
    assert tokenizer.token_to_id("iron") == NEXT
    assert ids_of(tokenizer) == ids_of_transformers(read)
    write_folder(written, "")
    write_tokenizer(tokenizer, 64, written)
    lines = (written / "vocab.txt").read_text(encoding="utf-8").splitlines()
    for token, number in tokenizer.get_vocab().items():
        assert lines.index(token) == number
    assert ids_of_transformers(written) == ids_of(tokenizer)


def test_only_the_five_special_tokens_in_a_text_have_other_ids(tmp_path: Path) -> None:
    write_folder(tmp_path, "vocab.txt", {"additional_special_tokens": ["<url>"]})
    tokenizer = read_tokenizer(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.tokenize("[MASK] <url>") == ["[MASK]", "<url>"]
    assert tokenizer.encode("[MASK] <url>").tokens == ["[CLS]", "[", "mask", "]", "<url>", "[SEP]"]
    for special in SPECIAL:
        if special != "[UNK]":
            ids = tokenizer.encode(f"iron {special}").ids
            assert VOCABULARY[special] not in ids[1:-1]


@pytest.mark.parametrize(
    ("limit", "max_length"),
    [(128, 128), (10**30, 10**9), (1e30, 10**9), (None, 10**9), ("x", 10**9)],
)
def test_the_longest_text_is_what_the_tokenizer_says(
    limit: Any, max_length: int, tmp_path: Path
) -> None:
    for name in ("model_max_length", "max_len"):
        write_folder(tmp_path, "vocab.txt", {name: limit})
        assert read_max_length(tmp_path) == max_length
