"""Does distance matter? Encoders learn generated tasks in which two words at a known distance decide."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from selfattn_lm.config import Settings
from selfattn_lm.data.sources import Split
from selfattn_lm.evaluation import evaluate_split
from selfattn_lm.study.cell import train_cell
from selfattn_lm.study.grid import Cell, Grid
from selfattn_lm.study.picture import draw_probe, require_matplotlib
from selfattn_lm.study.results import ProbeResult
from selfattn_lm.study.synthetic import DISTANCES, generate

POSITIONS = ("learned", "sinusoidal", "rotary", "none")
KINDS = (*(f"attention, {positions}" for positions in POSITIONS), "lstm", "cnn", "bag")
# Nothing to overfit and nothing to spell: the texts are many, their words few, and only their order tells.
PROBE: dict[str, Any] = {
    "tokenizer": {"type": "word"},
    "model": {
        "width": 64, "max_ngram": 1, "char_ngrams": False, "dropout": 0.0, "bag_branch": False,
        "embedding_dropout": 0.0, "token_dropout": 0.0,
    },
    "training": {"epochs": 10, "label_smoothing": 0.0, "patience": 1000},
}  # fmt: skip


def probe(
    settings: Settings,
    folder: Path,
    texts: int = 800,
    distances: tuple[int, ...] = DISTANCES,
    kinds: tuple[str, ...] = KINDS,
) -> ProbeResult:
    """Train each kind once on so many texts of each task at each distance, and score it on 200 others of each."""
    require_matplotlib()
    grid = Grid(folder, {"settings": asdict(settings), "texts": texts, "distances": distances})
    trained = {"train": _together(texts, 0, distances), "validation": _together(50, 1, distances)}
    cells = [{"kind": kind, "seed": settings.seed} for kind in kinds]
    found = grid.fill(cells, lambda cell: _compute(cell, trained, settings, distances))
    result = ProbeResult(folder, found)
    result.write(draw_probe)
    return result


def _together(texts: int, seed: int, distances: tuple[int, ...]) -> Split:
    splits = generate(texts, seed, distances).values()
    written = [text for split in splits for text in split.texts]
    return Split("the generated texts", written, [label for split in splits for label in split.labels])


def _compute(cell: Cell, splits: dict[str, Split], settings: Settings, distances: tuple[int, ...]) -> dict[str, Any]:
    kind, _, positions = cell["kind"].partition(", ")
    model = replace(settings.model, kind=kind, positions=positions or settings.model.positions)
    result, measured = train_cell(replace(settings, model=model), splits)
    tests = generate(200, 2, distances)
    scores = [
        {"task": task, "distance": distance, **evaluate_split(result.classifier, split).values["accuracy"]}
        for (task, distance), split in tests.items()
    ]
    mean = sum(score["value"] for score in scores) / len(scores)
    return {"accuracy": {"value": mean}, "scores": scores, **measured}
