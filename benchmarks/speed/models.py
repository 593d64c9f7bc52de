"""The models that are compared: a run of ours, and its weights for `transformers` and onnxruntime.

python benchmarks/speed/models.py     # makes the missing ones in a temporary folder

`384x6` is MiniLM, fine-tuned for an epoch on 4,000 texts of ag_news. The others have its tokenizer
and start from random weights: their speed is compared, not their scores.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from measure import WORK, report_results, rows_of

ROWS, LONGEST = 4000, 256


def make(name: str) -> Path:
    """The folder with `run`, `bert` and `model.onnx` of a size."""
    folder = WORK / name
    if not (folder / "model.onnx").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        start = minilm() if name == "384x6" else random_weights(folder / "start", name)
        learn(folder, start)
        export(folder)
    return folder


def minilm() -> str:
    """The folder of all-MiniLM-L6-v2."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from accuracy import minilm as found  # imported late: its imports would count as start-up

    return found()


def random_weights(folder: Path, name: str) -> str:
    """A BERT of the given size with random weights and MiniLM's tokenizer."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    width, layers = (int(part) for part in name.split("x"))
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 32}
    BertForSequenceClassification(BertConfig(**sizes, intermediate_size=4 * width)).save_pretrained(
        folder
    )
    for file in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(Path(minilm()) / file, folder / file)
    return str(folder)


def learn(folder: Path, start: str) -> None:
    """Fine-tune on a part of ag_news; write the run, and its weights in the format of the peers."""
    from selfattn_lm import export as export_bert, train

    texts, labels = rows_of("ag_news", "train")
    lines = [
        json.dumps({"text": text, "label": label})
        for text, label in zip(texts, labels, strict=True)
    ]
    (folder / "train.jsonl").write_text("\n".join(lines[:ROWS]))
    model = {"pooling": "cls", "max_length": LONGEST}
    train(
        str(folder / "train.jsonl"),
        init=start,
        out=folder / "run",
        model=model,
        training={"epochs": 1},
    )
    export_bert(folder / "run", out=folder / "bert")


def export(folder: Path) -> None:
    """Export the same weights as an ONNX graph with a dynamic batch size and length."""
    import torch
    from onnxruntime import InferenceSession
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        folder / "bert", attn_implementation="eager"
    ).eval()

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.inner(input_ids=ids, attention_mask=mask).logits

    ids, mask = (
        torch.randint(1000, 2000, (2, 16)),
        (torch.arange(16) < torch.tensor([[16], [9]])).long(),
    )
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    made = folder / "made.onnx"
    torch.onnx.export(
        Logits().eval(), (ids, mask), made, input_names=["ids", "mask"], output_names=["logits"], dynamo=True,
        dynamic_shapes={"ids": free, "mask": free}, external_data=False, verbose=False,
    )  # fmt: skip
    found = InferenceSession(str(made)).run(None, {"ids": ids.numpy(), "mask": mask.numpy()})[0]
    torch.testing.assert_close(
        torch.from_numpy(found), model(ids, mask).logits.detach(), atol=1e-3, rtol=0
    )
    os.replace(made, folder / "model.onnx")


if __name__ == "__main__":
    report_results(
        folders=[str(make(name)) for name in sys.argv[1:] or ("128x2", "256x4", "384x6")]
    )
