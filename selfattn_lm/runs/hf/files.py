"""The files of a checkpoint in Hugging Face's format, on the hub or on the disk; whatever is in them runs no code."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from selfattn_lm.errors import UserError

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_PARTS = [
    "config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "added_tokens.json",
    "special_tokens_map.json", "*_Pooling/config.json",
]  # fmt: skip


def locate(name: str | Path, revision: str | None = None) -> Path:
    """The folder of that name, or of a model on the hub (`owner/name`), fetched or from the hub's local cache.

    `revision` is a commit of a model on the hub; its newest by default.
    """
    path = Path(name)
    if (
        (path.parent.is_dir() and path.parent != Path())
        or path.exists()
        or not _HUB_NAME.fullmatch(str(name))
    ):
        return path
    import huggingface_hub

    try:
        fetch = partial(huggingface_hub.snapshot_download, str(name), revision=revision)
        folder = Path(fetch(allow_patterns=[*_PARTS, "model*.safetensors*"]))
        if not list(folder.glob("model*.safetensors")):
            fetch(allow_patterns=[*_PARTS, "pytorch_model*.bin*"])
    except Exception as error:  # of all kinds: connection, HTTP, a name that does not exist
        kind = type(error).__name__
        reason = f"the hub could not be reached ({kind}); check the connection, or download it and name its folder."
        if kind == "RepositoryNotFoundError":
            reason = "there is no such model on the hub; check the spelling."
        raise UserError(f"{name}: no folder of that name, and {reason}") from None
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of a run or a checkpoint, which may be several; none if there are no weights.

    Other files in the folder, such as a copy of the weights in 8 bits, are not read.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        parts = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else [name]
        if not (folder / parts[0]).is_file():
            continue
        for part in parts:
            if Path(part).name != part or not (folder / part).is_file():
                raise UserError(f"{folder}: {part}, which {index.name} names, is missing.")
        return [folder / part for part in parts]
    return []


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, which may be in several files; a pickle is opened for plain tensors alone."""
    weights: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            if file.suffix == ".safetensors":
                weights |= safetensors.torch.load_file(file)
            else:
                weights |= torch.load(file, weights_only=True, map_location="cpu")
        except Exception as error:  # of all kinds: a broken header, a pickle that would run code
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{file}: cannot be read as plain tensors ({reason}).") from None
    if not weights:
        reason = f"{folder}: no model.safetensors and no pytorch_model.bin"
        raise UserError(f"{reason}, so there are no weights to start from.")
    return weights


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file, which the user may have damaged."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: cannot be read as JSON ({' '.join(str(error).split())})."
        ) from None
    if not isinstance(values, dict):
        raise UserError(f"{file}: holds no JSON object.")
    return values


def read_if_there(file: Path) -> dict[str, Any]:
    """The object in a JSON file, which is empty if there is no such file."""
    return read_json(file) if file.is_file() else {}
