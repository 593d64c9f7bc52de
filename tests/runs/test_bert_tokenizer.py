"""The ids of a checkpoint's tokenizer are those that `transformers` gives, or the checkpoint is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from selfattn_lm import UserError
from selfattn_lm.runs.hf.tokenizer import (
    lowercases,
    read_max_length,
    read_tokenizer,
    strips_accents,
    write_tokenizer,
)

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
transformers = pytest.importorskip("transformers")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = (
    "apple pear Iron iron the of ##s café cafe CAF 北 京 北京 тест Тест й ก ##า กา か が ##き 한국 i ##i "
    "< > [ ] @ ! ? , ' mask url user e 1 e1 <url>"
)
VOCABULARY = {token: i for i, token in enumerate([*SPECIAL, *PIECES.split()])}
TEXTS = [
    "the apples of Iron, iron!", "CAFÉ café cafe\u0301 CAFE", "北京 tests 北", "Тест тест Й \u0438\u0306",
    "กา かき がき 한국 İi",
    "", "emoji 🙂 and \t\n controls \x00\x07 \u200b end", "the<url> iron@user <URL>@USER,<url>apple of [E1] iron[e1]",
    "  <url>  the   @user ", "[mask mask] [unused1] ",
]  # fmt: skip
NEXT = len(VOCABULARY)  # the id of a token that is added to the vocabulary


def added(content: str, special: bool = False, **flags: bool) -> dict[str, Any]:
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special}
    return {"content": content, "special": special, **usual, **flags}


FIVE = {str(i): added(token, special=True) for i, token in enumerate(SPECIAL)}


def write_folder(
    folder: Path,
    form: str,
    options: dict[str, Any] | None = None,
    *,
    in_file: tuple[dict[str, Any], ...] = (),
    lowercase: bool = True,
    **files: Any,
) -> None:
    """Write a tokenizer's files, with `in_file` as added tokens of tokenizer.json, and other `files` by name."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    if options is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(options))
    for name, values in files.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    if "vocab.txt" in form:
        (folder / "vocab.txt").write_text(
            "".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8"
        )
    if "tokenizer.json" in form:
        standard(lowercase, in_file).save(str(folder / "tokenizer.json"))


def standard(lowercase: bool = True, in_file: tuple[dict[str, Any], ...] = ()) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens([AddedToken(**token) for token in in_file])
    return tokenizer


def skip_if_it_reads_otherwise(case: str) -> None:
    """Skip a case that `transformers` reads as we do only since version 5: earlier it gave other ids, or an error."""
    version = int(transformers.__version__.split(".")[0])
    if version < 5 and case in READ_SINCE_5:
        pytest.skip("transformers reads this otherwise before version 5")


def ids_of_transformers(folder: Path) -> list[list[int]]:
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    return [theirs(text)["input_ids"] for text in TEXTS]


def ids_of(tokenizer: Tokenizer) -> list[list[int]]:
    return [tokenizer.encode(text).ids for text in TEXTS]


OPTIONS: list[dict[str, Any] | None] = [
    None,
    {},
    {"do_lower_case": False},
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": False},
    {
        "tokenizer_class": "BertTokenizerFast",
        "do_lower_case": False,
        "tokenize_chinese_chars": False,
    },
    {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False},
    {
        "tokenizer_class": "ElectraTokenizerFast",
        "do_basic_tokenize": False,
        "never_split": ["iron"],
    },
    {
        "model_max_length": 512,
        "cls_token": {"__type": "AddedToken", **added("[CLS]", normalized=True)},
    },
    {
        "unk_token": "[UNK]",
        "mask_token": "[MASK]",
        "clean_up_tokenization_spaces": True,
        "max_len": 12,
    },
    {"additional_special_tokens": ["<url>", "@user"]},
    {"extra_special_tokens": ["[E1]"], "do_lower_case": False},
    {"extra_special_tokens": {"link": "<url>"}, "bos_token": "[CLS]"},
    {"user_token": "@user"},
    {"additional_special_tokens": ["<url>"], "split_special_tokens": True},
    {"added_tokens_decoder": {**FIVE, str(NEXT): added("@user")}},
    {
        "added_tokens_decoder": {
            **FIVE,
            str(NEXT): added("[E1]", special=True, lstrip=True, rstrip=True),
        }
    },
    {
        "added_tokens_decoder": {
            **FIVE,
            str(NEXT): added("@USER", normalized=True),
            str(NEXT + 1): added("<url"),
        }
    },
]


# Among `OPTIONS` and `ADDED`: a list of special tokens, one with a name of its own, and an older list with ids.
READ_SINCE_5 = ("12", "14", "an older list and its ids")


@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json", "vocab.txt and tokenizer.json"])
@pytest.mark.parametrize("case", [str(i) for i in range(len(OPTIONS))])
def test_the_options_of_a_tokenizer_are_read_as_transformers_reads_them(
    form: str, case: str, tmp_path: Path
) -> None:
    skip_if_it_reads_otherwise(case)
    options = OPTIONS[int(case)]
    write_folder(tmp_path, form, options)
    tokenizer = read_tokenizer(tmp_path)
    assert ids_of(tokenizer) == ids_of_transformers(tmp_path)
    lowercase = (options or {}).get("do_lower_case", True)
    assert lowercases(tokenizer) is lowercase
    strip = (options or {}).get("strip_accents")
    assert strips_accents(tokenizer) is (lowercase if strip is None else strip)


URL, USER = {"<url>": VOCABULARY["<url>"]}, {"@user": NEXT}
ADDED: dict[str, tuple[str, dict[str, Any] | None, dict[str, Any]]] = {
    "an older file": ("vocab.txt", None, {"added_tokens": {**USER, **URL}}),
    "an older file in capitals": (
        "vocab.txt", {"do_lower_case": True}, {"added_tokens": {"[E1]": NEXT, "@USER": NEXT + 1}},
    ),
    "an older file of special tokens": (
        "vocab.txt", {"additional_special_tokens": ["[E1]"]}, {"added_tokens": {"[E1]": NEXT}},
    ),
    "an older list": ("vocab.txt", None, {"special_tokens_map": {"additional_special_tokens": ["[E1]", "<url>"]}}),
    "an older list and its ids": (
        "vocab.txt", {},
        {"special_tokens_map": {"additional_special_tokens": ["[E1]"]}, "added_tokens": {"[E1]": NEXT}},
    ),
    "the file itself": ("tokenizer.json", None, {"in_file": (added("@user"), added("<url>", special=True))}),
    "the file and the decoder": (
        "tokenizer.json", {"added_tokens_decoder": {**FIVE, str(NEXT): added("@user", rstrip=True)}},
        {"in_file": (added("@user", rstrip=True),)},
    ),
    "only the file": (
        "tokenizer.json", {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True},
        {"in_file": (added("@user"), added("[E1]", special=True)), "lowercase": False},
    ),
    "only the file and a list": (
        "tokenizer.json", {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["<url>"]},
        {"in_file": (added("@user", single_word=True),)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ADDED)
def test_added_tokens_are_found_in_texts_as_transformers_finds_them(
    case: str, tmp_path: Path
) -> None:
    skip_if_it_reads_otherwise(case)
    form, options, files = ADDED[case]
    write_folder(tmp_path, form, options, **files)
    tokenizer = read_tokenizer(tmp_path)
    assert ids_of(tokenizer) == ids_of_transformers(tmp_path)
    assert any({VOCABULARY["<url>"], NEXT} & set(ids) for ids in ids_of(tokenizer))


@pytest.mark.parametrize("case", [*ADDED, *(str(i) for i in range(len(OPTIONS)))])
def test_what_is_written_gives_the_same_ids_in_transformers(case: str, tmp_path: Path) -> None:
    form, options, files = ADDED[case] if case in ADDED else ("vocab.txt", OPTIONS[int(case)], {})
    write_folder(tmp_path / "one", form, options, **files)
    tokenizer = read_tokenizer(tmp_path / "one")
    write_folder(tmp_path / "two", "")
    write_tokenizer(tokenizer, 64, tmp_path / "two")
    assert ids_of_transformers(tmp_path / "two") == ids_of(tokenizer)
    assert ids_of(read_tokenizer(tmp_path / "two")) == ids_of(tokenizer)
    assert read_max_length(tmp_path / "two") == 64


def test_a_vocabulary_with_gaps_or_foreign_line_ends_keeps_its_ids(tmp_path: Path) -> None:
    write_folder(tmp_path / "one", "")
    twice = [*VOCABULARY, "iron", "new", "##x"]  # the last of equal lines counts
    (tmp_path / "one" / "vocab.txt").write_bytes("\r\n".join(twice).encode())
    tokenizer = read_tokenizer(tmp_path / "one")
    assert tokenizer.token_to_id("iron") == NEXT
    assert ids_of(tokenizer) == ids_of_transformers(tmp_path / "one")
    write_folder(tmp_path / "two", "")
    write_tokenizer(tokenizer, 64, tmp_path / "two")
    lines = (tmp_path / "two" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert {token: lines.index(token) for token in tokenizer.get_vocab()} == tokenizer.get_vocab()
    assert ids_of_transformers(tmp_path / "two") == ids_of(tokenizer)


def test_the_five_special_tokens_in_a_text_are_where_the_ids_differ(tmp_path: Path) -> None:
    write_folder(tmp_path, "vocab.txt", {"additional_special_tokens": ["<url>"]})
    tokenizer, theirs = (
        read_tokenizer(tmp_path),
        transformers.AutoTokenizer.from_pretrained(tmp_path),
    )
    assert theirs.tokenize("[MASK] <url>") == ["[MASK]", "<url>"]
    assert tokenizer.encode("[MASK] <url>").tokens == ["[CLS]", "[", "mask", "]", "<url>", "[SEP]"]
    for special in SPECIAL:
        assert (
            VOCABULARY[special] not in tokenizer.encode(f"iron {special}").ids[1:-1]
            or special == "[UNK]"
        )


def change(folder: Path, part: str, value: Any) -> None:
    file = folder / "tokenizer.json"
    contents = json.loads(file.read_text(encoding="utf-8"))
    if part in ("max_input_chars_per_word", "continuing_subword_prefix"):
        contents["model"][part] = value
    else:
        contents[part] = value
    file.write_text(json.dumps(contents))


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
    change(tmp_path, part, value)
    with pytest.raises(UserError) as refused:
        read_tokenizer(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / 'tokenizer.json'}: its {part} is not that of a BertTokenizer; if tokenizer.json is right, name "
        "PreTrainedTokenizerFast in tokenizer_config.json."
    )
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast"}'
    )
    tokenizer = read_tokenizer(tmp_path)
    assert ids_of(tokenizer) == ids_of_transformers(tmp_path)
    write_folder(tmp_path / "back", "")
    write_tokenizer(tokenizer, 64, tmp_path / "back")
    assert ids_of_transformers(tmp_path / "back") == ids_of(tokenizer)


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("vocab.txt", {"tokenizer_class": "BertJapaneseTokenizer"}, {},
     ": tokenizer_class 'BertJapaneseTokenizer' is not supported (supported: BertTokenizer, DistilBertTokenizer, "
     "ElectraTokenizer, PreTrainedTokenizerFast)."),
    ("vocab.txt", {"tokenizer_class": "PreTrainedTokenizerFast"}, {},
     ": tokenizer.json is not there; download the tokenizer too."),
    ("vocab.txt", {"cls_token": "<s>"}, {}, ": cls_token is <s>, and only [CLS] is supported."),
    ("vocab.txt", {"mask_token": None}, {}, ": mask_token is None, and only [MASK] is supported."),
    ("vocab.txt", {}, {"special_tokens_map": {"unk_token": {"content": "<unk>"}}},
     ": unk_token is <unk>, and only [UNK] is supported."),
    ("vocab.txt", {"do_lower_case": "no"}, {},
     "/tokenizer_config.json: do_lower_case: 'no' is not true or false."),
    ("vocab.txt", {}, {"added_tokens": {"@user": NEXT + 3}},
     f": the added token '@user' has the id {NEXT + 3} in the tokenizer's files, but {NEXT} after the vocabulary; they "
     "do not belong together."),
    ("vocab.txt", {"added_tokens_decoder": {"5": added("@user")}}, {},
     f": the added token '@user' has the id 5 in the tokenizer's files, but {NEXT} after the vocabulary; they do not "
     "belong together."),
    ("vocab.txt", {"additional_special_tokens": ["<url>"]},
     {"special_tokens_map": {"additional_special_tokens": ["@user"]}},
     ": tokenizer_config.json and special_tokens_map.json list different additional special tokens; correct one of "
     "them."),
    ("tokenizer.json", {"added_tokens_decoder": FIVE}, {"in_file": (added("@user"),)},
     "/tokenizer.json: its added token '@user' is not in the added_tokens_decoder of tokenizer_config.json; correct "
     "one of the files."),
    ("vocab.txt", {"additional_special_tokens": [7]}, {}, ": '7' is not a token of the tokenizer's files."),
    ("", {}, {}, ": neither tokenizer.json nor vocab.txt is there; download the tokenizer too."),
]  # fmt: skip


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
    change(tmp_path, "post_processor", None)
    with pytest.raises(UserError) as refused:
        read_tokenizer(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / 'tokenizer.json'}: it puts nothing around a text, and not [CLS] and [SEP], so it is not BERT's."
    )


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


@pytest.mark.parametrize(
    ("limit", "longest"), [(128, 128), (10**30, 10**9), (1e30, 10**9), (None, 10**9), ("x", 10**9)]
)
def test_the_read_max_length_is_what_the_tokenizer_says(
    limit: Any, longest: int, tmp_path: Path
) -> None:
    for name in ("model_max_length", "max_len"):
        write_folder(tmp_path, "vocab.txt", {name: limit})
        assert read_max_length(tmp_path) == longest
