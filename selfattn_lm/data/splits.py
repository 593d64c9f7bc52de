"""From rows to a split: the text, or the sequence of vectors, and the target of each row."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from selfattn_lm.config import DataConfig
from selfattn_lm.data.characters import visible_text
from selfattn_lm.data.columns import find_labels, not_a_text, refuse_one_for_both, text_of
from selfattn_lm.data.examples import Example, Split
from selfattn_lm.data.pairs import NO_PAIRS, find_texts, pair_of
from selfattn_lm.data.rows import Row
from selfattn_lm.data.targets import TargetReader
from selfattn_lm.data.vectors import Vectors, is_matrix, read_vectors, refuse_other_kind
from selfattn_lm.errors import UserError

_ADVICE = "fix or remove the row"


def row_values(row: Row, source: str) -> Mapping[str, Any]:
    """The cells of a row; refuses one that could not be read."""
    if row.values is None:
        raise UserError(f"{source}, {row.place}: {row.problem}; {_ADVICE}.")
    return row.values


def row_text(
    values: Mapping[str, Any], names: tuple[str, ...], place: str, *also: str
) -> str | Vectors:
    """The text of a row, which must have its columns, and those named `also`.

    A column of matrices holds a sequence of vectors in place of a text.
    """
    for name in (*names, *also):
        if name not in values:
            found = ", ".join(repr(column) for column in values)
            raise UserError(f"{place}: no column {name!r}; found {found}.")
    if len(names) == 1 and is_matrix(values[names[0]]):
        return read_vectors(values[names[0]], f"{place}, column {names[0]!r}")
    text = text_of(values, names)
    if text is None:
        raise UserError(f"{place}: {not_a_text(values, names)}.")
    return text


def refuse_damage(row: Row, names: Iterable[str], source: str) -> None:
    """Refuse a row in which a needed column holds bytes, or halves of characters."""
    for name in names:
        problem = row.damaged.get(name)
        if problem:
            advice = "save the file as UTF-8" if "UTF-8" in problem else _ADVICE
            raise UserError(f"{source}, {row.place}: {problem} in column {name!r}; {advice}.")


def read_split(
    source: str, rows: Iterator[Row], config: DataConfig, known: DataConfig | None = None
) -> Split:
    """Read the examples of a split.

    Args:
        source: What the split is called in messages.
        rows: Its rows.
        config: The columns that are asked for.
        known: The columns of the training split or the run, which are read if none are asked for.
    """
    known = known or DataConfig()
    examples: list[Example] = []
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()  # the text columns and the pair column
    pair_column = NO_PAIRS
    reader: TargetReader | None = None
    n_empty = 0
    for row in rows:
        values = row_values(row, source)
        if reader is None:
            columns = list(values)
            names, pair_column = find_texts(columns, config, known, source)
            labels = find_labels(columns, config.label_column, source, known.label_column)
            texts = names
            if pair_column != NO_PAIRS:
                texts = (*names, pair_column)
            refuse_one_for_both(texts, labels, source)
            reader = _target_reader(labels, values, config, known)
        if row.damaged:
            refuse_damage(row, (*texts, *reader.columns), source)
        example = None
        has_vectors = len(examples) > 0 and isinstance(examples[0].text, Vectors)
        if reader.reads_texts and pair_column == NO_PAIRS and not has_vectors:
            example = _plain_example(values, names, reader.columns[0])
        if example is None:
            place = f"{source}, {row.place}"
            example = _example(values, names, pair_column, reader, place)
            if not example.text:
                n_empty += 1
                continue
            if examples:
                refuse_other_kind(example.text, examples[0].text, place)
        examples.append(example)
    if reader is None or not examples:
        raise UserError(f"{source}: no row has a text.")
    examples = _with_targets(examples, reader, source)
    return Split(source, examples, n_empty, names, pair_column, reader.columns, reader.kind)


def _target_reader(
    labels: tuple[str, ...], first: Mapping[str, Any], config: DataConfig, known: DataConfig
) -> TargetReader:
    """A reader of the label columns, by the settings, or else by those of the run.

    `first` holds the cells of the first row.
    """
    kind = config.task
    if kind == "auto":
        kind = known.task
    return TargetReader(
        labels,
        kind,
        first,
        config.label_separator or known.label_separator,
        empty_means_none=config.empty_means_none or known.empty_means_none,
    )


def _with_targets(examples: list[Example], reader: TargetReader, source: str) -> list[Example]:
    """The examples with their targets as labels or numbers, whichever they are as a whole."""
    targets = [example.target for example in examples]
    finished = reader.finish(targets, source)
    if finished is targets:
        return examples
    return [
        example._replace(target=target) for example, target in zip(examples, finished, strict=True)
    ]


def _example(
    values: Mapping[str, Any],
    names: tuple[str, ...],
    pair_column: str,
    reader: TargetReader,
    place: str,
) -> Example:
    """The example of any row; the rest of one without a text is not read."""
    text = row_text(values, names, place, *reader.columns)
    if not text:
        return Example("", None, None)
    pair = None
    if pair_column != NO_PAIRS:
        if isinstance(text, Vectors):
            reason = f"column {names[0]!r} holds vectors, and only texts come in pairs"
            raise UserError(f"{place}: {reason}; leave out --data.pair-column.")
        pair = pair_of(values, pair_column, place)
    return Example(text, pair, reader.read(values, place))


def _plain_example(
    values: Mapping[str, Any], names: tuple[str, ...], label_column: str
) -> Example | None:
    """The example of a row with one text and a label, both visible strings: a faster way for most.

    None for any other row.
    """
    if len(names) > 1:
        return None
    text, target = values.get(names[0]), values.get(label_column)
    if type(text) is not str or type(target) is not str:
        return None
    text, target = visible_text(text), visible_text(target)
    if text and target:
        return Example(text, None, target)
    return None
