"""The tokenizer of a checkpoint in Hugging Face's format.

It is read as `transformers` reads it, or refused. The files of a folder may contradict each other.
As in `transformers`, the options of `tokenizer_config.json` take precedence over the normalizer of
`tokenizer.json`, and its `added_tokens_decoder` over the older files of added tokens. The ids
differ in one case only: BERT's five special tokens are plain text where a user wrote them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from selfattn_lm.errors import UserError
from selfattn_lm.features.tokenizer import load_tokenizer
from selfattn_lm.runs.files import write_json, write_text
from selfattn_lm.runs.hf.added_tokens import (
    SPECIAL,
    AddedTokens,
    TokenizerFiles,
    as_ours,
    contents_of,
    is_plain_text,
    read_added_tokens,
    read_tokenizer_files,
    refuse_unlisted_tokens,
    require_ids,
)
from selfattn_lm.runs.hf.files import read_if_there

# A tokenizer of these classes is built from a vocabulary and a few options.
_BERT_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")
# A tokenizer of these is whatever tokenizer.json holds.
_FILE_CLASSES = ("PreTrainedTokenizer", "TokenizersBackend")

_NO_LIMIT = 10**9
_MAX_CHARACTERS = 100  # of a word; a longer one is unknown


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a checkpoint.

    Raises:
        UserError: A file is missing or broken, the files contradict each other, or the tokenizer
            is not BERT's.
    """
    try:
        return _read_tokenizer(folder)
    except UserError:
        raise
    except Exception as error:  # of any class: a file may hold anything, tokenizers raises this one
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{folder}: its files cannot be read as a tokenizer ({reason}).") from None


def _read_tokenizer(folder: Path) -> Tokenizer:
    files = read_tokenizer_files(folder)
    added = read_added_tokens(files)
    if _is_built_from_vocabulary(files):
        tokenizer = _from_vocabulary(files)
        refuse_unlisted_tokens(files, added)
    else:
        tokenizer = _from_contents(files)
    _require_special_tokens(folder, tokenizer, added)
    ours = [as_ours(token, files.splits_special_tokens) for token in added.all]
    tokenizer.add_tokens(ours)
    require_ids(folder, tokenizer.get_vocab(), added)
    loaded = load_tokenizer(tokenizer.to_str())
    require_ids(folder, loaded.get_vocab(), added)
    return loaded


def _is_built_from_vocabulary(files: TokenizerFiles) -> bool:
    """Whether the tokenizer's class builds it from a vocabulary, and does not take it whole."""
    named = files.options.get("tokenizer_class")
    if not named:
        named = read_if_there(files.folder / "config.json").get("tokenizer_class")
    name = str(named or "BertTokenizer").removesuffix("Fast")
    if name not in (*_BERT_CLASSES, *_FILE_CLASSES):
        supported = ", ".join((*_BERT_CLASSES, "PreTrainedTokenizerFast"))
        reason = f"tokenizer_class {named!r} is not supported"
        raise UserError(f"{files.folder}: {reason} (supported: {supported}).")
    return name in _BERT_CLASSES


def _from_vocabulary(files: TokenizerFiles) -> Tokenizer:
    """Build BERT's tokenizer from the vocabulary in `tokenizer.json`, or else in `vocab.txt`."""
    options = files.options
    _require_booleans(files)
    vocabulary = _vocabulary(files)
    model = models.WordPiece(
        vocabulary, unk_token=SPECIAL["unk_token"], max_input_chars_per_word=_MAX_CHARACTERS
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=options.get("do_lower_case", True),
        strip_accents=options.get("strip_accents"),
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _require_booleans(files: TokenizerFiles) -> None:
    for name in ("do_lower_case", "strip_accents", "tokenize_chinese_chars"):
        if name not in files.options:
            continue
        value = files.options[name]
        if name == "strip_accents" and value is None:
            continue  # as do_lower_case says
        if not isinstance(value, bool):
            file = files.folder / "tokenizer_config.json"
            raise UserError(f"{file}: {name}: {value!r} is not true or false.")


def _vocabulary(files: TokenizerFiles) -> dict[str, int]:
    if files.contents:
        part = _differs_from_bert(files.contents)
        if part:
            reason = f"its {part} is not that of a BertTokenizer"
            name = "name PreTrainedTokenizerFast in tokenizer_config.json"
            advice = f"if tokenizer.json is right, {name}"
            raise UserError(f"{files.folder / 'tokenizer.json'}: {reason}; {advice}.")
        vocabulary: dict[str, int] = files.contents["model"]["vocab"]
        return vocabulary
    file = files.folder / "vocab.txt"
    if not file.is_file():
        reason = "neither tokenizer.json nor vocab.txt is there"
        raise UserError(f"{files.folder}: {reason}; download the tokenizer too.")
    return models.WordPiece.read_file(str(file))


def _differs_from_bert(contents: Mapping[str, Any]) -> str:
    """Name the first part of a `tokenizer.json` that is not as in BERT; empty if there is none.

    The options of the normalizer do not count.
    """
    model = contents.get("model") or {}
    normalizer = contents.get("normalizer") or {}
    pre_tokenizer = contents.get("pre_tokenizer") or {}
    max_characters = model.get("max_input_chars_per_word", _MAX_CHARACTERS)
    found_and_expected = {
        "model": (model.get("type", "WordPiece"), "WordPiece"),
        "continuing_subword_prefix": (model.get("continuing_subword_prefix", "##"), "##"),
        "max_input_chars_per_word": (max_characters, _MAX_CHARACTERS),
        "unk_token": (model.get("unk_token", "[UNK]"), "[UNK]"),
        "normalizer": (normalizer.get("type"), "BertNormalizer"),
        "normalizer's clean_text": (normalizer.get("clean_text", True), True),
        "pre_tokenizer": (pre_tokenizer.get("type"), "BertPreTokenizer"),
    }
    for part, (found, expected) in found_and_expected.items():
        if found != expected:
            return part
    return ""


def _from_contents(files: TokenizerFiles) -> Tokenizer:
    """Load the tokenizer in `tokenizer.json`, which must put [CLS] and [SEP] around a text."""
    if not files.contents:
        reason = "tokenizer.json is not there"
        raise UserError(f"{files.folder}: {reason}; download the tokenizer too.")
    added = []
    for token in files.tokens_in_contents:
        is_special = token.get("special", False)
        special = is_plain_text(token["content"], is_special, files.splits_special_tokens)
        added.append({**token, "special": special})
    tokenizer = Tokenizer.from_str(json.dumps({**files.contents, "added_tokens": added}))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    around = tokenizer.encode("").tokens
    if around != [SPECIAL["cls_token"], SPECIAL["sep_token"]]:
        found = " ".join(around) or "nothing"
        reason = f"it puts {found} around a text, and not [CLS] and [SEP]"
        raise UserError(f"{files.folder / 'tokenizer.json'}: {reason}, so it is not BERT's.")
    return tokenizer


def _require_special_tokens(folder: Path, tokenizer: Tokenizer, added: AddedTokens) -> None:
    """Refuse a tokenizer without an id for each of BERT's special tokens."""
    numbered = contents_of(added.numbered.values())
    for special in SPECIAL.values():
        if tokenizer.token_to_id(special) is None and special not in numbered:
            reason = f"the tokenizer has no token {special}"
            raise UserError(f"{folder}: {reason}, so it is not BERT's.")


def read_max_length(folder: Path) -> int:
    """The most tokens of a text that `tokenizer_config.json` allows; a billion without a limit."""
    options = read_if_there(folder / "tokenizer_config.json")
    limit = options.get("model_max_length", options.get("max_len"))
    if isinstance(limit, int | float) and 2 <= limit < _NO_LIMIT:
        return int(limit)
    return _NO_LIMIT


def lowercases(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer lower-cases letters."""
    normalizer = tokenizer.normalizer
    return normalizer is not None and normalizer.normalize_str("A") == "a"


def strips_accents(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer drops accents."""
    normalizer = tokenizer.normalizer
    return normalizer is not None and normalizer.normalize_str("é") == "e"


def write_tokenizer(
    tokenizer: Tokenizer, max_length: int, folder: Path, *, has_token_types: bool = True
) -> None:
    """Write the files from which `transformers` makes a tokenizer with the same ids.

    Args:
        tokenizer: The tokenizer.
        max_length: The most tokens of a text.
        folder: The folder of the files.
        has_token_types: Whether the model takes token types, which DistilBERT refuses.
    """
    contents = json.loads(tokenizer.to_str())
    options: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if not _differs_from_bert(contents):
        normalizer = contents["normalizer"]
        options = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer["strip_accents"],
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
        }
        write_text(folder / "vocab.txt", _vocabulary_lines(contents["model"]["vocab"]))
    options["model_max_length"] = max_length
    options.update(SPECIAL)
    added = {}
    splits_special_tokens = False
    for token in contents["added_tokens"]:
        number = str(token.pop("id"))
        added[number] = token
        if token["special"] and token["content"] not in SPECIAL.values():
            splits_special_tokens = True  # such a token is plain text where it occurs in a text
    options["added_tokens_decoder"] = added
    if splits_special_tokens:
        options["split_special_tokens"] = True
    if not has_token_types:
        options["model_input_names"] = ["input_ids", "attention_mask"]
    write_json(folder / "tokenizer_config.json", options)
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))


def _vocabulary_lines(vocabulary: Mapping[str, int]) -> str:
    """The text of a `vocab.txt`, in which a token's id is the number of its line, from 0 on.

    An id without a token has a line too.
    """
    tokens = {number: token for token, number in vocabulary.items()}
    lines = []
    for number in range(max(tokens) + 1):
        lines.append(tokens.get(number, f"[no token {number}]"))
    return "".join(f"{line}\n" for line in lines)
