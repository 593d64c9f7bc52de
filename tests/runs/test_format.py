"""A run folder that was written once, and must be read by every later version."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from selfattn_lm import TextClassifier, UserError

FOLDER = Path(__file__).parent / "format_2"
TEXTS = ["the apple and a plum", "iron or gold", "rain on the lake"]
PROBABILITIES = [[0.6433, 0.2647, 0.0920], [0.0564, 0.8877, 0.0559], [0.1033, 0.2192, 0.6775]]


def test_a_run_folder_of_format_2_predicts_what_it_always_did() -> None:
    classifier = TextClassifier.load(FOLDER, "32")
    assert classifier.labels == ["fruit", "metal", "water"]
    assert classifier.predict(TEXTS) == classifier.labels
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), PROBABILITIES, atol=1e-3)
    resolved = classifier.run.resolved
    assert resolved.data.text_column == ("text",)
    assert resolved.model.max_length == 16


@pytest.mark.parametrize(
    ("format", "advice"), [(1, "train the run again"), (3, "update selfattn_lm")]
)
def test_another_format_is_refused(format: int, advice: str, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(FOLDER, copy)
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("format: 2", f"format: {format}"))
    with pytest.raises(UserError) as error:
        TextClassifier.load(copy)
    reason = f"format {format}, and this version reads format 2"
    assert str(error.value) == f"{config}: {reason}; {advice}."
