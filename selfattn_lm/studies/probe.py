"""Does distance matter? Encoders learn tasks that two words at a known distance decide."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from selfattn_lm.config import Settings
from selfattn_lm.data.examples import Example, Split
from selfattn_lm.evaluation import evaluate_split
from selfattn_lm.inference import TextClassifier
from selfattn_lm.studies.cell import train_cell
from selfattn_lm.studies.grid import Cell, Grid
from selfattn_lm.studies.picture import draw_probe, require_matplotlib
from selfattn_lm.studies.results import ProbeResult
from selfattn_lm.studies.synthetic import DISTANCES, generate

KINDS = (
    "attention, learned",  # the kind of encoder, and the positions of attention
    "attention, sinusoidal",
    "attention, rotary",
    "attention, none",
    "lstm",
    "cnn",
    "bag",
)
# The texts are many and their words few, so regularisation and character n-grams are not needed.
# Without word n-grams, only the encoder can see the order of the words.
PROBE: dict[str, Any] = {
    "tokenizer": {"type": "word"},
    "model": {
        "width": 64,
        "max_ngram": 1,
        "char_ngrams": False,
        "dropout": 0.0,
        "bag_branch": False,
        "ngram_branch": False,
        "embedding_dropout": 0.0,
        "token_dropout": 0.0,
    },
    "training": {"epochs": 10, "label_smoothing": 0.0, "patience": 1000},
}
_TRAIN_SEED, _VALIDATION_SEED, _TEST_SEED = 0, 1, 2
_VALIDATION_TEXTS, _TEST_TEXTS = 50, 200  # of each task at each distance


def probe(
    settings: Settings,
    folder: Path,
    texts: int = 800,
    distances: tuple[int, ...] = DISTANCES,
    kinds: tuple[str, ...] = KINDS,
) -> ProbeResult:
    """Train each kind of model once on all tasks and distances, and score it on each of them.

    Args:
        settings: The settings of all models; usually `PROBE` with changes.
        folder: The folder of the probe. An unfinished probe in it is continued.
        texts: The number of training texts of each task at each distance.
        distances: Between the two words that decide, in words.
        kinds: As in `KINDS`.

    Raises:
        UserError: The folder holds something else, or matplotlib is not installed.
    """
    require_matplotlib()  # before the training, not after it
    grid = Grid(folder, {"settings": asdict(settings), "texts": texts, "distances": distances})
    splits = {
        "train": _all_tasks(texts, _TRAIN_SEED, distances),
        "validation": _all_tasks(_VALIDATION_TEXTS, _VALIDATION_SEED, distances),
    }
    cells: list[Cell] = []
    for kind in kinds:
        cells.append({"kind": kind, "seed": settings.seed})
    compute = partial(_train_and_score, splits=splits, settings=settings, distances=distances)
    result = ProbeResult(folder, grid.fill(cells, compute))
    result.write(draw_probe)
    return result


def _all_tasks(texts: int, seed: int, distances: tuple[int, ...]) -> Split:
    """One split with the texts of every task at every distance."""
    examples: list[Example] = []
    for split in generate(texts, seed, distances).values():
        examples.extend(split.examples)
    return Split("the generated texts", examples)


def _train_and_score(
    cell: Cell, splits: dict[str, Split], settings: Settings, distances: tuple[int, ...]
) -> dict[str, Any]:
    kind, _, positions = cell["kind"].partition(", ")
    model = replace(settings.model, kind=kind)
    if positions:
        model = replace(model, positions=positions)
    result, measured = train_cell(replace(settings, model=model), splits)
    scores = _score_each_task(result.classifier, distances)
    mean = sum(score["value"] for score in scores) / len(scores)
    return {"accuracy": {"value": mean}, "scores": scores, **measured}


def _score_each_task(
    classifier: TextClassifier, distances: tuple[int, ...]
) -> list[dict[str, Any]]:
    """The accuracy, with its interval, on new texts of each task at each distance."""
    scores = []
    for (task, distance), split in generate(_TEST_TEXTS, _TEST_SEED, distances).items():
        accuracy = evaluate_split(classifier, split).values["accuracy"]
        scores.append({"task": task, "distance": distance, **accuracy})
    return scores
