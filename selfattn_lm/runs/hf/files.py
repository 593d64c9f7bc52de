"""The files of a checkpoint in Hugging Face's format, on the hub or on the disk.

Reading them runs no code, whatever is in them.
"""

import json
import re
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from selfattn_lm.errors import UserError

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SAFETENSORS = "model.safetensors"
_PICKLE = "pytorch_model.bin"
# All files that are read except the weights.
_SMALL_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "*_Pooling/config.json",
)


def locate(name: str | Path, revision: str | None = None) -> Path:
    """Find a folder, or a model on the hub, which is downloaded or taken from the hub's cache.

    Args:
        name: The path of a folder, or `owner/name` of a model on the hub.
        revision: The commit of a model on the hub; by default its newest.

    Returns:
        The folder. A path is returned as it is, even if nothing is there, unless it may name a
        model on the hub.

    Raises:
        UserError: There is no such folder, and no such model, or the hub cannot be reached.
    """
    path = Path(name)
    has_parent = path.parent != Path() and path.parent.is_dir()
    if has_parent or path.exists() or not _HUB_NAME.fullmatch(str(name)):
        return path
    try:
        folder = _download(str(name), revision, "model*.safetensors*")
        if not list(folder.glob("model*.safetensors")):
            _download(str(name), revision, "pytorch_model*.bin*")
    except Exception as error:  # of any class: the connection, HTTP, a name that does not exist
        kind = type(error).__name__
        reason = f"the hub could not be reached ({kind})"
        advice = "check the connection, or download it and name its folder"
        if kind == "RepositoryNotFoundError":
            reason = "there is no such model on the hub"
            advice = "check the spelling"
        raise UserError(f"{name}: no folder of that name, and {reason}; {advice}.") from None
    return folder


def _download(name: str, revision: str | None, weights: str) -> Path:
    import huggingface_hub

    patterns = [*_SMALL_FILES, weights]
    return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=patterns))


def weight_files(folder: Path) -> list[Path]:
    """Find the files that hold the weights of a run or a checkpoint.

    Other files in the folder, such as a copy of the weights in 8 bits, are not among them.

    Returns:
        One file, or several if the weights are split, or none if there are no weights.

    Raises:
        UserError: A part of split weights is missing.
    """
    for name in (_SAFETENSORS, _PICKLE):
        index = folder / f"{name}.index.json"
        parts = [name]
        if index.is_file():
            parts = sorted(set(read_json(index)["weight_map"].values()))
        if not (folder / parts[0]).is_file():
            continue
        for part in parts:
            is_inside = Path(part).name == part
            if not is_inside or not (folder / part).is_file():
                raise UserError(f"{folder}: {part}, which {index.name} names, is missing.")
        return [folder / part for part in parts]
    return []


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint. A pickle is opened for plain tensors alone.

    Raises:
        UserError: There are no weights, or a file cannot be read as plain tensors.
    """
    weights: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            if file.suffix == ".safetensors":
                weights.update(safetensors.torch.load_file(file))
            else:
                weights.update(torch.load(file, weights_only=True, map_location="cpu"))
        except Exception as error:  # of any class: a broken header, a pickle that would run code
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{file}: cannot be read as plain tensors ({reason}).") from None
    if not weights:
        reason = f"no {_SAFETENSORS} and no {_PICKLE}"
        raise UserError(f"{folder}: {reason}, so there are no weights to start from.")
    return weights


def read_json(file: Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        UserError: The file is missing or broken, or does not hold an object.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as JSON ({reason}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{file}: holds no JSON object.")
    return values


def read_if_there(file: Path) -> dict[str, Any]:
    """Read the object in a JSON file; it is empty if there is no such file."""
    if not file.is_file():
        return {}
    return read_json(file)
