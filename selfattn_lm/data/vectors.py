"""Sequences of vectors in place of texts, such as frames of speech or patches of an image.

T vectors, F features. numpy is loaded only where there are vectors.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from selfattn_lm.errors import UserError
from selfattn_lm.phrases import counted

if TYPE_CHECKING:
    import numpy as np

COLUMN = "sequence"  # of the rows of files that hold nothing but vectors


class Vectors:
    """A sequence of vectors, in the place of the text of an example.

    Two sequences are equal if their values are, so duplicates are found as those of texts are.

    Attributes:
        values: Finite numbers, at least one vector of at least one feature: float32 (T, F).
    """

    def __init__(self, values: "np.ndarray") -> None:
        self.values = values
        content = f"{values.shape}".encode() + values.tobytes()
        self._digest = hashlib.sha256(content).hexdigest()

    @property
    def features(self) -> int:
        """The number F of features of each vector."""
        return int(self.values.shape[1])

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vectors) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __str__(self) -> str:
        return self._digest


def is_matrix(value: Any) -> bool:
    """Return whether a value may be a sequence of vectors: a matrix, or a list of lists."""
    if isinstance(value, Vectors):
        return True
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape) == 2
    return isinstance(value, list | tuple) and len(value) > 0 and isinstance(value[0], list | tuple)


def read_vectors(value: Any, where: str) -> Vectors:
    """Read a sequence of vectors from a matrix, a tensor, or a list of lists of numbers.

    Args:
        value: The value, for which `is_matrix` is true.
        where: The place of the value, for messages.

    Raises:
        UserError: There is no vector, vectors differ in length, or a number is not finite.
    """
    import numpy as np

    if isinstance(value, Vectors):
        return value
    if hasattr(value, "detach"):  # a tensor, of any type and on any device
        value = value.detach().cpu().double().numpy()
    try:
        values = np.array(value, dtype=np.float32, ndmin=2, order="C")  # a copy
    except (ValueError, TypeError):
        values = None
    if values is None or values.ndim != 2:
        reason = "not vectors of equally many numbers"
        raise UserError(f"{where}: {reason}; give a matrix, with a row for each vector.")
    if 0 in values.shape:
        reason = f"an empty sequence, of {counted(values.shape[0], 'vector')}"
        if values.shape[0] > 0:
            reason = "vectors without features"
        raise UserError(f"{where}: {reason}; fix or remove it.")
    is_broken = ~np.isfinite(values)
    if is_broken.any():
        row, column = np.argwhere(is_broken)[0]
        found = f"{values[row, column]} in vector {row}, feature {column}"
        raise UserError(f"{where}: {found}; fix or remove it.")
    return Vectors(values)


def holds_vectors(items: Any) -> bool:
    """Return whether a collection in memory holds sequences of vectors, by its first item."""
    if len(getattr(items, "shape", ())) == 3:
        return True
    if not isinstance(items, Collection):
        return False
    return is_matrix(next(iter(items), None))


def sequences_in_memory(items: Any, what: str) -> list[Vectors]:
    """Read sequences that are given in Python; a batch (N, T, F) holds N of them.

    Args:
        items: The sequences, each a matrix (T, F).
        what: How messages call them.

    Raises:
        UserError: A sequence is broken, or does not have the features of the first.
    """
    found: list[Vectors] = []
    for i, item in enumerate(items):
        where = f"{what}[{i}]"
        if not is_matrix(item):
            reason = f"of the type {type(item).__name__}, not a sequence of vectors"
            raise UserError(f"{where}: {reason}; give a matrix (T, F) for each.")
        found.append(read_vectors(item, where))
        refuse_other_kind(found[i], found[0], where)
    return found


def refuse_other_kind(found: Any, first: Any, where: str) -> None:
    """Refuse a text among sequences, a sequence among texts, and another number of features.

    Args:
        found: A text, or a sequence.
        first: The first one, with which all others must agree.
        where: The place of `found`, for messages.
    """
    if type(found) is not type(first):
        reason = "a sequence of vectors, but the first row has a text"
        if isinstance(first, Vectors):
            reason = "a text, but the first row has a sequence of vectors"
        raise UserError(f"{where}: {reason}; use one kind.")
    if isinstance(found, Vectors) and found.features != first.features:
        reason = f"{counted(found.features, 'feature')} per vector"
        raise UserError(f"{where}: {reason}, but {first.features} in the first row; use one size.")


def read_arrays(file: Any, where: str, form: str) -> Iterator[dict[str, Any]]:
    """Read the sequences of a .npy or .npz file, and what else an .npz file holds of each.

    A .npy file holds one sequence (T, F) or several of the same length (N, T, F). An .npz file
    holds `sequences` (N, T, F); or `vectors`, those of all sequences one after the other (V, F),
    and `lengths` (N,). Its other arrays, such as `label` (N,), are columns. No pickle is opened.

    Args:
        file: The open file.
        where: Its name, for messages.
        form: npy or npz.

    Yields:
        The cells of each row by column; those of a sequence are under `sequence`.

    Raises:
        UserError: Arrays are missing, or do not fit together.
        ValueError: The file is broken, or holds objects.
    """
    import numpy as np

    if form == "npy":
        array = _loaded(np.load, file, where)
        if array.ndim not in (2, 3):
            shape = f"an array of shape {array.shape}"
            raise UserError(f"{where}: {shape}; save one sequence (T, F) or several (N, T, F).")
        for sequence in array.reshape(-1, *array.shape[-2:]):
            yield {COLUMN: sequence}
        return
    with np.load(file) as archive:
        arrays = {name: _loaded(archive.__getitem__, name, where) for name in archive.files}
    sequences = _sequences_of(arrays, where)
    for name, column in arrays.items():
        if column.ndim != 1 or len(column) != len(sequences):
            shape = f"array {name!r} has the shape {column.shape}"
            advice = f"give one value for each of the {len(sequences)} sequences"
            raise UserError(f"{where}: {shape}; {advice}.")
    columns = {name: column.tolist() for name, column in arrays.items()}
    for i, sequence in enumerate(sequences):
        row: dict[str, Any] = {COLUMN: sequence}
        for name, column in columns.items():
            row[name] = column[i]
        yield row


def _loaded(load: "Callable[[Any], np.ndarray]", what: Any, where: str) -> "np.ndarray":
    """Load an array; refuses one of Python objects, which numpy could only unpickle."""
    try:
        return load(what)
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        reason = "an array of Python objects, which are never unpickled"
        raise UserError(f"{where}: {reason}; save numbers, or an array of strings.") from None


def _sequences_of(arrays: "dict[str, np.ndarray]", where: str) -> "list[np.ndarray]":
    """Take the sequences out of the arrays of an .npz file."""
    import numpy as np

    layout = "`sequences` (N, T, F), or `vectors` (V, F) and `lengths` (N,)"
    if "sequences" in arrays:
        together = arrays.pop("sequences")
        if together.ndim != 3:
            raise UserError(f"{where}: `sequences` has the shape {together.shape}; save {layout}.")
        return list(together)
    if "vectors" not in arrays or "lengths" not in arrays:
        found = ", ".join(arrays) or "nothing"
        raise UserError(f"{where}: no sequences of vectors; found {found}, save {layout}.")
    vectors, lengths = arrays.pop("vectors"), arrays.pop("lengths")
    is_count = lengths.ndim == 1 and np.issubdtype(lengths.dtype, np.integer)
    if vectors.ndim != 2 or not is_count or (lengths < 0).any() or lengths.sum() != len(vectors):
        reason = f"`lengths` does not divide the {len(vectors)} rows of `vectors`"
        raise UserError(f"{where}: {reason}; save {layout}.")
    return np.split(vectors, np.cumsum(lengths)[:-1])
