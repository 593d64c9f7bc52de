"""The head of a classifier in Hugging Face's format: what it predicts, read and written."""

from typing import Any

from torch import Tensor

from selfattn_lm.errors import UserError
from selfattn_lm.phrases import counted
from selfattn_lm.runs.hf.config import CheckpointConfig, is_integer
from selfattn_lm.runs.hf.names import HEAD_WEIGHT
from selfattn_lm.tasks import MultiLabel, Regression, SingleLabel, Task

# The `problem_type` of each kind of task.
_PROBLEM_TYPES = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def read_task(config: CheckpointConfig, head: Tensor | None) -> Task:
    """Find what a classification head predicts.

    A head with one output that was not trained for regression gives a score through a sigmoid.

    Args:
        config: The `config.json` of the checkpoint.
        head: The weight of the head (L, C), if the checkpoint has one.

    Raises:
        UserError: The head is missing, is of another kind, or does not fit the names of its labels.
    """
    file = config.file
    if head is None:
        reason = f"the weights lack {HEAD_WEIGHT}, so it cannot predict labels"
        raise UserError(f"{file.parent}: {reason}.")
    rows = len(head)
    problem_type = config.values.get("problem_type") or ""
    if problem_type and problem_type not in _PROBLEM_TYPES.values():
        supported = "', '".join(_PROBLEM_TYPES.values())
        unsupported = f"problem_type {problem_type!r} is not supported"
        raise UserError(f"{file}: {unsupported} (supported: '{supported}').")
    if problem_type == _PROBLEM_TYPES["regression"]:
        if rows != 1:
            unsupported = f"problem_type 'regression' with {rows} outputs is not supported"
            raise UserError(f"{file}: {unsupported} (supported: 1 output).")
        return Regression(mean=0.0, std=1.0)
    labels = _read_labels(config, rows)
    if problem_type == _PROBLEM_TYPES["multi_label"]:
        return MultiLabel(labels)
    if rows == 1:
        return Regression(mean=0.0, std=1.0, activation="sigmoid")
    return SingleLabel(labels)


def _read_labels(config: CheckpointConfig, rows: int) -> list[str]:
    """Read the names of the labels, in the order of the head's rows."""
    file = config.file
    labels = _label_names(config, rows)
    if len(labels) != rows:
        sizes = f"{counted(len(labels), 'label')}, but {HEAD_WEIGHT} has {counted(rows, 'row')}"
        raise UserError(f"{file}: it names {sizes}.")
    for label in labels:
        if labels.count(label) > 1:
            reason = f"id2label has the label {label!r} twice"
            raise UserError(f"{file}: {reason}; give each number its own label.")
    return labels


def _label_names(config: CheckpointConfig, rows: int) -> list[str]:
    """The names in `id2label`, or else those that `transformers` makes up."""
    file = config.file
    id2label = config.values.get("id2label")
    if id2label is None:
        count = config.values.get("num_labels", rows)
        if not is_integer(count, 1):
            raise UserError(f"{file}: num_labels {count!r} is not a whole number above 0.")
        return [f"LABEL_{i}" for i in range(count)]
    if not isinstance(id2label, dict) or not all(key.isdecimal() for key in id2label):
        example = "{'0': 'no', '1': 'yes'}"
        raise UserError(f"{file}: id2label holds no labels by their number, such as {example}.")
    keys = sorted(id2label, key=int)
    numbers = [int(key) for key in keys]
    if numbers != list(range(len(numbers))):
        found = str(numbers).strip("[]")
        expected = f"0 to {len(numbers) - 1}, each once"
        raise UserError(f"{file}: id2label numbers its labels {found}; they must be {expected}.")
    return [str(id2label[key]) for key in keys]


def head_json(task: Task) -> dict[str, Any]:
    """What `config.json` says about the head of a task."""
    values: dict[str, Any] = {}
    gives_score = isinstance(task, Regression) and task.activation == "sigmoid"
    if not gives_score:
        values["problem_type"] = _PROBLEM_TYPES[task.kind]
    labels = task.names or ["LABEL_0"]  # a number has no name, but its place needs one
    numbers = range(len(labels))
    values["id2label"] = dict(zip(numbers, labels, strict=True))
    values["label2id"] = dict(zip(labels, numbers, strict=True))
    return values


def scale_head(task: Task, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Fold the scaling of a number into a head, which then computes it in its own unit.

    Args:
        task: What the head predicts; other heads stay as they are.
        weight: The weight of the head: (L, C).
        bias: Its bias: (L,).
    """
    if not isinstance(task, Regression):
        return weight, bias
    return weight * task.std, bias * task.std + task.mean
