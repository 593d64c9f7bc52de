"""The tokens that a checkpoint in Hugging Face's format adds to its vocabulary.

Up to four files name them, in a newer and an older way.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

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

# The options that name a special token in any tokenizer, in the order in which they are added.
_STANDARD_OPTIONS = ("bos_token", "eos_token", *SPECIAL)

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")  # how a token is matched in a text


class TokenizerFiles(NamedTuple):
    """What the files of a tokenizer hold; empty for a file that is not there.

    Attributes:
        folder: The folder of the files.
        options: `tokenizer_config.json`.
        older_options: `special_tokens_map.json`, if `options` do not number the added tokens.
        contents: `tokenizer.json`.
    """

    folder: Path
    options: dict[str, Any]
    older_options: dict[str, Any]
    contents: dict[str, Any]

    @property
    def splits_special_tokens(self) -> bool:
        """Whether special tokens are plain text where they occur in a text."""
        return bool(self.options.get("split_special_tokens"))

    @property
    def tokens_in_contents(self) -> list[dict[str, Any]]:
        """The added tokens of `tokenizer.json`, as objects with their text, id and flags."""
        return self.contents.get("added_tokens") or []


class AddedTokens(NamedTuple):
    """The added tokens of a checkpoint.

    Attributes:
        numbered: Those whose ids the files state, by id, in the order of the ids.
        others: The others, in the order in which they are added.
    """

    numbered: dict[int, AddedToken]
    others: list[AddedToken]

    @property
    def all(self) -> list[AddedToken]:
        """All of them, in the order in which they are added."""
        return [*self.numbered.values(), *self.others]


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read the files of a tokenizer."""
    options = read_if_there(folder / "tokenizer_config.json")
    older_options = {}
    if "added_tokens_decoder" not in options:
        older_options = read_if_there(folder / "special_tokens_map.json")
    contents = read_if_there(folder / "tokenizer.json")
    return TokenizerFiles(folder, options, older_options, contents)


def read_added_tokens(files: TokenizerFiles) -> AddedTokens:
    """Collect the added tokens from all files.

    Raises:
        UserError: The files contradict each other, or name other special tokens than BERT's.
    """
    named = _named_tokens(files)
    listed = _listed_tokens(files)
    numbered = _numbered_tokens(files, named)
    names = contents_of(named.values())
    for token in numbered.values():
        if token.content in names:
            token.special = True
    known = contents_of(numbered.values())
    others = [token for token in (*named.values(), *listed) if token.content not in known]
    return AddedTokens(numbered, others)


def _named_tokens(files: TokenizerFiles) -> dict[str, AddedToken]:
    """The tokens of options such as `cls_token`, by the name of the option."""
    options = {**files.options, **files.older_options}
    for name, expected in SPECIAL.items():
        if name in options:
            _require_content(files.folder, name, options[name], expected)
    options = {**SPECIAL, **options}
    names = list(_STANDARD_OPTIONS)
    for name in options:
        if name.endswith("_token") and name not in names:
            names.append(name)
    tokens = {}
    for name in names:
        value = options.get(name)
        if isinstance(value, str | dict):
            tokens[name] = _token(files.folder, value)
    return tokens


def _require_content(folder: Path, name: str, value: Any, expected: str) -> None:
    """Refuse another token than BERT's for an option."""
    found = "None"
    if value is not None:
        found = _token(folder, value).content
    if found != expected:
        raise UserError(f"{folder}: {name} is {found}, and only {expected} is supported.")


def _listed_tokens(files: TokenizerFiles) -> list[AddedToken]:
    """The tokens of the lists of special tokens, in the newer and the older file."""
    newer = _token_list(files.folder, files.options)
    older = _token_list(files.folder, files.older_options)
    if newer is None or older is None:
        return newer or older or []
    if contents_of(newer) != contents_of(older):
        names = "tokenizer_config.json and special_tokens_map.json"
        reason = f"{names} list different additional special tokens"
        raise UserError(f"{files.folder}: {reason}; correct one of them.")
    return newer


def _token_list(folder: Path, options: Mapping[str, Any]) -> list[AddedToken] | None:
    """The tokens that a file lists under the newer name or the older one; None without a list."""
    values = options.get("extra_special_tokens") or options.get("additional_special_tokens")
    if values is None:
        if "extra_special_tokens" in options:
            return []
        return None
    if isinstance(values, dict):
        values = values.values()
    return [_token(folder, value) for value in values]


def _numbered_tokens(
    files: TokenizerFiles, named: Mapping[str, AddedToken]
) -> dict[int, AddedToken]:
    """The tokens whose ids the files state, by id."""
    found: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in files.options:
        for number, value in files.options["added_tokens_decoder"].items():
            found[int(number)] = _token(files.folder, value)
    else:
        special_contents = _special_contents(files, named)
        older = read_if_there(files.folder / "added_tokens.json")
        for content, number in older.items():
            special = content in special_contents
            found[number] = AddedToken(content, special=special, normalized=not special)
        for value in files.tokens_in_contents:
            found[value["id"]] = _token(files.folder, value)
    return dict(sorted(found.items()))


def _special_contents(files: TokenizerFiles, named: Mapping[str, AddedToken]) -> list[str]:
    """The texts of the tokens in `added_tokens.json` that are special, which it does not say."""
    tokens = _token_list(files.folder, files.options) or []
    for name, token in named.items():
        if name in _STANDARD_OPTIONS:
            tokens.append(token)
    return contents_of(tokens)


def contents_of(tokens: Iterable[AddedToken]) -> list[str]:
    """The texts of tokens."""
    return [token.content for token in tokens]


def _token(folder: Path, value: Any) -> AddedToken:
    """Make a token of what the files write: its text, or an object with its text and flags."""
    if isinstance(value, str):
        return AddedToken(value, special=True)
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        shown = str(value)[:80]
        raise UserError(f"{folder}: {shown!r} is not a token of the tokenizer's files.")
    special = value.get("special", True)
    flags = {name: value[name] for name in _FLAGS if name in value}
    return AddedToken(value["content"], special=special, **flags)


def is_plain_text(content: str, special: bool, splits_special_tokens: bool) -> bool:
    """Whether a token is plain text where it occurs in a text.

    BERT's own five special tokens are: nobody means them by what they write. Others, such as
    `<url>`, were added to be found in texts, unless the checkpoint splits special tokens.
    """
    return content in SPECIAL.values() or (special and splits_special_tokens)


def as_ours(token: AddedToken, splits_special_tokens: bool) -> AddedToken:
    """Copy a token with `special` as we use it: whether it is plain text in a text."""
    special = is_plain_text(token.content, token.special, splits_special_tokens)
    flags = {name: getattr(token, name) for name in _FLAGS}
    return AddedToken(token.content, special=special, **flags)


def refuse_unlisted_tokens(files: TokenizerFiles, added: AddedTokens) -> None:
    """Refuse a `tokenizer.json` with added tokens that `tokenizer_config.json` does not list."""
    listed = contents_of(added.all)
    for value in files.tokens_in_contents:
        if value["content"] not in listed:
            file = files.folder / "tokenizer.json"
            reason = "is not in the added_tokens_decoder of tokenizer_config.json"
            token = f"its added token {value['content']!r}"
            raise UserError(f"{file}: {token} {reason}; correct one of the files.")


def require_ids(folder: Path, vocabulary: Mapping[str, int], added: AddedTokens) -> None:
    """Refuse added tokens with other ids than the files state, and two tokens with one id."""
    for number, token in added.numbered.items():
        found = vocabulary.get(token.content)
        if found != number:
            ids = f"the id {number} in the tokenizer's files, but {found} after the vocabulary"
            reason = f"the added token {token.content!r} has {ids}"
            raise UserError(f"{folder}: {reason}; they do not belong together.")
    if len(set(vocabulary.values())) < len(vocabulary):
        reason = "two tokens of the tokenizer have the same id"
        raise UserError(f"{folder}: {reason}; download it again.")
