"""Read handwritten digits: an image of 8 x 8 pixels becomes a sequence of vectors, in three ways.

    python scripts/image.py --out runs/image

- 8 rows, each a vector of 8 pixels;
- 16 patches of 2 x 2 pixels, each a vector of 4, as a vision Transformer reads an image;
- 64 pixels, each a vector of 1, or of 3 with its row and its column.

Attention without positions sees a set: it knows which vectors there are, but not where. Each way is
tried with and without positions, to see what a set loses. Beside attention are the CNN of this
package and a support vector machine (SVM). The images are those that scikit-learn brings along.
What is finished stays in --out; a stopped script continues.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from support import (
    SCORE_HEADINGS,
    print_table,
    require_scikit_learn,
    run_script,
    score,
    score_cells,
    train_and_score,
)

from selfattn_lm.studies.grid import Cell, Grid

# Chosen on the validation split; docs/vectors.md says how.
SETTINGS: dict[str, Any] = {
    "seed": 0,
    "epochs": 40,
    "bag_branch": False,
    "dropout": 0.2,
    "embedding_dropout": 0.2,
    "token_dropout": 0.0,  # a missing row is an eighth of an image
}
# How an image is arranged, and how the model learns where a vector was.
MODELS = (
    ("rows", "attention, learned"),
    ("rows", "attention, none"),
    ("patches", "attention, learned"),
    ("patches", "attention, none"),
    ("rows", "cnn"),
    ("patches", "cnn"),
    ("all pixels at once", "svm"),
    ("pixels", "attention, learned"),
    ("pixels", "attention, none"),
    ("pixels with coordinates", "attention, none"),
)


def arrange(images: np.ndarray, arrangement: str) -> np.ndarray:
    """Turn images into sequences of vectors: (N, 8, 8) -> (N, T, F)."""
    count = len(images)
    if arrangement == "rows":
        return images
    if arrangement == "patches":
        patches = images.reshape(count, 4, 2, 4, 2)  # image, row of patches, row, column, column
        return patches.transpose(0, 1, 3, 2, 4).reshape(count, 16, 4)
    pixels = images.reshape(count, 64, 1)
    if arrangement == "pixels":
        return pixels
    places = np.indices((8, 8)).reshape(2, 64).T  # (64, 2): the row and the column of each pixel
    coordinates = np.broadcast_to(places, (count, 64, 2))
    return np.concatenate([pixels, coordinates], axis=2)


def split_rows(count: int) -> dict[str, np.ndarray]:
    """The row numbers of train, validation and test: every fifth row is for the test."""
    rows = np.arange(count)
    is_test = rows % 5 == 0
    is_validation = rows % 10 == 1
    return {
        "train": rows[~is_test & ~is_validation],
        "validation": rows[is_validation],
        "test": rows[is_test],
    }


def train_svm(
    images: np.ndarray, digits: np.ndarray, split: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Train a support vector machine, its gamma chosen by cross-validation, and score it."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    started = time.monotonic()
    pixels = images.reshape(len(images), 64)
    train = np.concatenate([split["train"], split["validation"]])  # it divides them by itself
    gammas = {"gamma": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]}
    model = GridSearchCV(SVC(kernel="rbf"), gammas, cv=5).fit(pixels[train], digits[train])
    seconds = time.monotonic() - started
    test = split["test"]
    return score(model.predict(pixels[test]), digits[test], seconds)


def print_results(results: list[dict[str, Any]]) -> None:
    """Print a line per model."""
    lines = []
    for result in results:
        lines.append([result["arrangement"], result["model"], *score_cells(result)])
    print_table(["an image as", "model, positions", *SCORE_HEADINGS], lines)


def main() -> None:
    """Train each model, and print the table."""
    parser = argparse.ArgumentParser(description="Read handwritten digits with self-attention.")
    parser.add_argument("--out", type=Path, default=Path("runs/image"), help="results and models")
    arguments = parser.parse_args()
    require_scikit_learn()
    from sklearn.datasets import load_digits

    images, digits = load_digits().images, load_digits().target
    split = split_rows(len(images))

    def compute(cell: Cell) -> dict[str, Any]:
        if cell["model"] == "svm":
            return train_svm(images, digits, split)
        kind, _, positions = cell["model"].partition(", ")
        settings = {**SETTINGS, "kind": kind}
        if positions:
            settings["positions"] = positions
        sequences = arrange(images, cell["arrangement"])
        train, validation, test = ((sequences[rows], digits[rows]) for rows in split.values())
        out = arguments.out / "models" / f"{cell['arrangement']}, {cell['model']}"
        return train_and_score(train, validation, test, out, settings)

    cells: list[Cell] = []
    for arrangement, model in MODELS:
        cells.append({"arrangement": arrangement, "model": model})
    print_results(Grid(arguments.out, {"settings": SETTINGS}).fill(cells, compute))


if __name__ == "__main__":
    sys.exit(run_script(main))
