"""Folders with the files of a small tokenizer, and the ids that it gives."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
transformers = pytest.importorskip("transformers")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = (
    "apple pear Iron iron the of ##s café cafe CAF 北 京 北京 тест Тест й ก ##า กา か が ##き 한국 "
    "i ##i < > [ ] @ ! ? , ' mask url user e 1 e1 <url>"
)
VOCABULARY = {token: i for i, token in enumerate([*SPECIAL, *PIECES.split()])}
NEXT = len(VOCABULARY)  # the id of a token that is added to the vocabulary
TEXTS = [
    "the apples of Iron, iron!",
    "CAFÉ café cafe\u0301 CAFE",
    "北京 tests 北",
    "Тест тест Й \u0438\u0306",
    "กา かき がき 한국 İi",
    "",
    "emoji 🙂 and \t\n controls \x00\x07 \u200b end",
    "the<url> iron@user <URL>@USER,<url>apple of [E1] iron[e1]",
    "  <url>  the   @user ",
    "[mask mask] [unused1] ",
]


def added(content: str, special: bool = False, **flags: bool) -> dict[str, Any]:
    """An added token as the files write it."""
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special}
    return {"content": content, "special": special, **usual, **flags}


def decoder(*tokens: dict[str, Any]) -> dict[str, Any]:
    """Options that number the special tokens and, after the vocabulary, others."""
    numbered = {str(i): added(token, special=True) for i, token in enumerate(SPECIAL)}
    for i, token in enumerate(tokens):
        numbered[str(NEXT + i)] = token
    return {"added_tokens_decoder": numbered}


def write_folder(
    folder: Path,
    form: str,
    options: dict[str, Any] | None = None,
    *,
    in_file: tuple[dict[str, Any], ...] = (),
    lowercase: bool = True,
    **files: Any,
) -> None:
    """Write the files of a tokenizer.

    Args:
        folder: The folder.
        form: The names of the files that hold the vocabulary.
        options: What `tokenizer_config.json` holds; None for no such file.
        in_file: The added tokens of `tokenizer.json`.
        lowercase: Whether its normalizer lower-cases letters.
        files: What other JSON files hold, by name.
    """
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    if options is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(options))
    for name, values in files.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    if "vocab.txt" in form:
        lines = "\n".join(VOCABULARY)
        (folder / "vocab.txt").write_text(f"{lines}\n", encoding="utf-8")
    if "tokenizer.json" in form:
        standard_tokenizer(lowercase, in_file).save(str(folder / "tokenizer.json"))


def standard_tokenizer(lowercase: bool, in_file: tuple[dict[str, Any], ...]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(SPECIAL)
    for token in in_file:
        tokenizer.add_tokens([AddedToken(**token)])
    return tokenizer


def change_file(folder: Path, part: str, value: Any) -> None:
    """Change a part of `tokenizer.json`."""
    file = folder / "tokenizer.json"
    contents = json.loads(file.read_text(encoding="utf-8"))
    if part in ("max_input_chars_per_word", "continuing_subword_prefix"):
        contents["model"][part] = value
    else:
        contents[part] = value
    file.write_text(json.dumps(contents))


def ids_of_transformers(folder: Path) -> list[list[int]]:
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    return [theirs(text)["input_ids"] for text in TEXTS]


def ids_of(tokenizer: Tokenizer) -> list[list[int]]:
    return [tokenizer.encode(text).ids for text in TEXTS]
