"""The tokens that a checkpoint in Hugging Face's format adds to its vocabulary, which five files may tell of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from selfattn_lm.errors import UserError
from selfattn_lm.runs.hf.files import read_if_there

SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_OWN_NAMES = ("bos_token", "eos_token", *SPECIAL)  # in the order in which they are added
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")  # of an added token: where it is found


def named_tokens(folder: Path, options: Mapping[str, Any]) -> dict[str, AddedToken]:
    """The tokens of options such as `cls_token`, by its name; BERT's five must be called as BERT calls them."""
    for name, usual in SPECIAL.items():
        if name in options and (
            options[name] is None or _token(folder, options[name]).content != usual
        ):
            raise UserError(
                f"{folder}: {name} is {_shown(options[name])}, and only {usual} is supported."
            )
    order = [
        *_OWN_NAMES,
        *(name for name in options if name.endswith("_token") and name not in _OWN_NAMES),
    ]
    values = {**SPECIAL, **options}
    return {
        name: _token(folder, values[name])
        for name in order
        if isinstance(values.get(name), str | dict)
    }


def extra_special_tokens(
    folder: Path, options: Mapping[str, Any], older_options: Mapping[str, Any]
) -> list[AddedToken]:
    """The tokens of the lists called `extra_special_tokens`, or `additional_special_tokens` in older files."""
    newer = _listed_tokens(folder, options)
    older = _listed_tokens(folder, older_options)
    if newer is None or older is None:
        return newer or older or []
    if [token.content for token in newer] != [token.content for token in older]:
        files = "tokenizer_config.json and special_tokens_map.json"
        raise UserError(
            f"{folder}: {files} list different additional special tokens; correct one of them."
        )
    return newer


def numbered_tokens(
    folder: Path, options: Mapping[str, Any], contents: Mapping[str, Any], special_names: list[str]
) -> dict[int, AddedToken]:
    """The added tokens of which a file says the ids, by id; added_tokens.json does not say which are special."""
    found: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in options:
        for i, value in options["added_tokens_decoder"].items():
            found[int(i)] = _token(folder, value)
    else:
        for content, i in read_if_there(folder / "added_tokens.json").items():
            special = content in special_names
            found[i] = AddedToken(content, special=special, normalized=not special)
        for value in contents.get("added_tokens") or []:
            found[value["id"]] = _token(folder, value)
    return dict(sorted(found.items()))


def special_by_name(
    folder: Path, named: Mapping[str, AddedToken], options: Mapping[str, Any]
) -> list[str]:
    """The tokens that are special if added_tokens.json alone tells of them."""
    tokens = [token for name, token in named.items() if name in _OWN_NAMES]
    tokens += _listed_tokens(folder, options) or []
    return [token.content for token in tokens]


def is_plain_text(content: str, special: bool, split_special_tokens: bool) -> bool:
    """Whether a token is plain text where it stands in a user's text, which is what `special` means to us.

    So are BERT's own five. Others, such as <url>, were added to be found in texts, unless the checkpoint says not.
    """
    return content in SPECIAL.values() or (special and split_special_tokens)


def as_ours(token: AddedToken, split_special_tokens: bool) -> AddedToken:
    """The token with `special` as it is with us."""
    special = is_plain_text(token.content, token.special, split_special_tokens)
    flags = {name: getattr(token, name) for name in _FLAGS}
    return AddedToken(token.content, special=special, **flags)


def refuse_forgotten_tokens(folder: Path, contents: Mapping[str, Any], known: list[str]) -> None:
    """Refuse a tokenizer.json with added tokens of which the newer tokenizer_config.json does not know."""
    for token in contents.get("added_tokens") or []:
        if token["content"] not in known:
            reason = "is not in the added_tokens_decoder of tokenizer_config.json"
            file = folder / "tokenizer.json"
            raise UserError(
                f"{file}: its added token {token['content']!r} {reason}; correct one of the files."
            )


def require_ids(
    folder: Path, vocabulary: Mapping[str, int], numbered: Mapping[int, AddedToken]
) -> None:
    """Refuse added tokens with other ids than the files state, and two tokens with one id."""
    for i, token in numbered.items():
        found = vocabulary.get(token.content)
        if found != i:
            reason = f"has the id {i} in the tokenizer's files, but {found} after the vocabulary"
            raise UserError(
                f"{folder}: the added token {token.content!r} {reason}; they do not belong together."
            )
    if len(set(vocabulary.values())) < len(vocabulary):
        raise UserError(
            f"{folder}: two tokens of the tokenizer have the same id; download it again."
        )


def _listed_tokens(folder: Path, options: Mapping[str, Any]) -> list[AddedToken] | None:
    values = options.get("extra_special_tokens") or options.get("additional_special_tokens")
    if values is None:
        return [] if "extra_special_tokens" in options else None
    if isinstance(values, dict):
        values = values.values()
    return [_token(folder, value) for value in values]


def _token(folder: Path, value: Any) -> AddedToken:
    """A token as the files write it: its text, or an object with its text and flags."""
    if isinstance(value, str):
        return AddedToken(value, special=True)
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise UserError(f"{folder}: {str(value)[:80]!r} is not a token of the tokenizer's files.")
    special = value.get("special", True)
    flags = {name: value[name] for name in _FLAGS if name in value}
    return AddedToken(value["content"], special=special, **flags)


def _shown(value: Any) -> str:
    return str(value["content"] if isinstance(value, dict) else value)
