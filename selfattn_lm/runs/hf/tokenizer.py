"""The tokenizer of a checkpoint in Hugging Face's format: read whole, as `transformers` reads it, or refused.

The files of one folder may say different things. As in `transformers`, the options of `tokenizer_config.json` count
more than the normalizer of `tokenizer.json`, and its `added_tokens_decoder` more than the older files of added tokens.
In one point alone the ids differ: the five special tokens of BERT are plain text where a user wrote them.
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
    as_ours,
    extra_special_tokens,
    is_plain_text,
    named_tokens,
    numbered_tokens,
    refuse_forgotten_tokens,
    require_ids,
    special_by_name,
)
from selfattn_lm.runs.hf.files import read_if_there

# These are made anew of a vocabulary and a few options; those that follow are whatever tokenizer.json holds.
_BERT_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")
_FILE_CLASSES = ("PreTrainedTokenizer", "TokenizersBackend")
_OPTIONS: dict[str, tuple[bool | None, ...]] = {
    "do_lower_case": (True, False),
    "strip_accents": (None, True, False),  # None: as do_lower_case
    "tokenize_chinese_chars": (True, False),
}


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint; refuses one whose files contradict each other, or that is not BERT's."""
    try:
        return _read_tokenizer(folder)
    except UserError:
        raise
    except (
        Exception
    ) as error:  # of all kinds, as a file may hold anything; tokenizers raises plain Exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{folder}: its files cannot be read as a tokenizer ({reason}).") from None


def _read_tokenizer(folder: Path) -> Tokenizer:
    options = read_if_there(folder / "tokenizer_config.json")
    older_options: dict[str, Any] = {}
    if "added_tokens_decoder" not in options:
        older_options = read_if_there(folder / "special_tokens_map.json")
    contents = read_if_there(folder / "tokenizer.json")
    split_special_tokens = bool(options.get("split_special_tokens"))
    named = named_tokens(folder, {**options, **older_options})
    extra = extra_special_tokens(folder, options, older_options)
    special_names = special_by_name(folder, named, options)
    numbered = numbered_tokens(folder, options, contents, special_names)
    for token in numbered.values():
        token.special = token.special or token.content in [
            other.content for other in named.values()
        ]
    numbered_names = [token.content for token in numbered.values()]
    unnumbered = [
        token for token in [*named.values(), *extra] if token.content not in numbered_names
    ]
    if _made_by_class(folder, options):
        tokenizer = _from_vocabulary(folder, options, contents)
        refuse_forgotten_tokens(
            folder, contents, [*numbered_names, *(token.content for token in unnumbered)]
        )
    else:
        tokenizer = _from_file(folder, contents, split_special_tokens)
    for special in SPECIAL.values():
        if tokenizer.token_to_id(special) is None and special not in numbered_names:
            raise UserError(f"{folder}: the tokenizer has no token {special}, so it is not BERT's.")
    added = [*numbered.values(), *unnumbered]
    tokenizer.add_tokens([as_ours(token, split_special_tokens) for token in added])
    require_ids(folder, tokenizer.get_vocab(), numbered)
    finished = load_tokenizer(tokenizer.to_str())
    require_ids(folder, finished.get_vocab(), numbered)
    return finished


def longest_text(folder: Path) -> int:
    """The most tokens of a text that `tokenizer_config.json` allows; a huge number if it sets no limit."""
    options = read_if_there(folder / "tokenizer_config.json")
    limit = options.get("model_max_length", options.get("max_len"))
    return int(limit) if isinstance(limit, int | float) and 2 <= limit < 1e9 else 10**9


def lowercases(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer lower-cases letters."""
    return tokenizer.normalizer is not None and tokenizer.normalizer.normalize_str("A") == "a"


def strips_accents(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer drops accents."""
    return tokenizer.normalizer is not None and tokenizer.normalizer.normalize_str("é") == "e"


def write_tokenizer(
    tokenizer: Tokenizer, max_length: int, folder: Path, *, has_token_types: bool = True
) -> None:
    """Write the tokenizer's files, of which `transformers` makes one with the same ids.

    Without `has_token_types` they say that the model takes none, as DistilBERT's `forward` refuses them.
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
    added = {
        str(token["id"]): {k: v for k, v in token.items() if k != "id"}
        for token in contents["added_tokens"]
    }
    options |= {"model_max_length": max_length, **SPECIAL, "added_tokens_decoder": added}
    if any(
        token["special"] and token["content"] not in SPECIAL.values()
        for token in contents["added_tokens"]
    ):
        options["split_special_tokens"] = (
            True  # such a token is plain text where it stands in a text
        )
    if not has_token_types:
        options["model_input_names"] = ["input_ids", "attention_mask"]
    write_json(folder / "tokenizer_config.json", options)
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))


def _vocabulary_lines(vocabulary: Mapping[str, int]) -> str:
    """The text of a `vocab.txt`, in which a token's id is the number of its line; unused ids have lines too."""
    tokens = {i: token for token, i in vocabulary.items()}
    lines = [tokens.get(i, f"[no token {i}]") for i in range(max(tokens) + 1)]
    return "".join(f"{line}\n" for line in lines)


def _made_by_class(folder: Path, options: Mapping[str, Any]) -> bool:
    """Whether the tokenizer is made of its vocabulary and options, and not of all that tokenizer.json holds."""
    named = options.get("tokenizer_class") or read_if_there(folder / "config.json").get(
        "tokenizer_class"
    )
    name = str(named or "BertTokenizer").removesuffix("Fast")
    if name not in (*_BERT_CLASSES, *_FILE_CLASSES):
        supported = ", ".join((*_BERT_CLASSES, "PreTrainedTokenizerFast"))
        raise UserError(
            f"{folder}: tokenizer_class {named!r} is not supported (supported: {supported})."
        )
    return name in _BERT_CLASSES


def _from_vocabulary(
    folder: Path, options: Mapping[str, Any], contents: Mapping[str, Any]
) -> Tokenizer:
    """BERT's own tokenizer, of the vocabulary in tokenizer.json or else in vocab.txt."""
    for name, allowed in _OPTIONS.items():
        if name in options and not any(options[name] is value for value in allowed):
            raise UserError(
                f"{folder / 'tokenizer_config.json'}: {name}: {options[name]!r} is not true or false."
            )
    if contents:
        if part := _differs_from_bert(contents):
            advice = (
                "if tokenizer.json is right, name PreTrainedTokenizerFast in tokenizer_config.json"
            )
            raise UserError(
                f"{folder / 'tokenizer.json'}: its {part} is not that of a BertTokenizer; {advice}."
            )
        vocabulary = contents["model"]["vocab"]
    elif not (folder / "vocab.txt").is_file():
        raise UserError(
            f"{folder}: neither tokenizer.json nor vocab.txt is there; download the tokenizer too."
        )
    else:
        vocabulary = models.WordPiece.read_file(str(folder / "vocab.txt"))
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=options.get("do_lower_case", True),
        strip_accents=options.get("strip_accents"),
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _differs_from_bert(contents: Mapping[str, Any]) -> str:
    """The first part of a tokenizer.json that is not as in BERT, but for the options of its normalizer; else ''."""
    model = {
        "type": "WordPiece",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }
    model |= contents.get("model") or {}
    normalizer = contents.get("normalizer") or {}
    pre_tokenizer = contents.get("pre_tokenizer") or {}
    expected = {
        "model": (model["type"], "WordPiece"),
        "continuing_subword_prefix": (model["continuing_subword_prefix"], "##"),
        "max_input_chars_per_word": (model["max_input_chars_per_word"], 100),
        "unk_token": (model.get("unk_token", "[UNK]"), "[UNK]"),
        "normalizer": (normalizer.get("type"), "BertNormalizer"),
        "normalizer's clean_text": (normalizer.get("clean_text", True), True),
        "pre_tokenizer": (pre_tokenizer.get("type"), "BertPreTokenizer"),
    }
    for part, (found, usual) in expected.items():
        if found != usual:
            return part
    return ""


def _from_file(folder: Path, contents: Mapping[str, Any], split_special_tokens: bool) -> Tokenizer:
    """The tokenizer that tokenizer.json holds, which must put [CLS] and [SEP] around a text."""
    file = folder / "tokenizer.json"
    if not contents:
        raise UserError(f"{folder}: tokenizer.json is not there; download the tokenizer too.")
    added = [dict(token) for token in contents.get("added_tokens") or []]
    for token in added:
        token["special"] = is_plain_text(
            token["content"], token.get("special", False), split_special_tokens
        )
    tokenizer = Tokenizer.from_str(json.dumps({**contents, "added_tokens": added}))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    around = tokenizer.encode("").tokens
    if around != ["[CLS]", "[SEP]"]:
        found = " ".join(around) or "nothing"
        raise UserError(
            f"{file}: it puts {found} around a text, and not [CLS] and [SEP], so it is not BERT's."
        )
    return tokenizer
