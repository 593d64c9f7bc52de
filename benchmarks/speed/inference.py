"""Prediction speed of one way, in a process of its own: inference.py TASK WAY SIZE.

TASK is `texts` (texts a second, on the test split of ag_news), `latency` (milliseconds for one text
of 32 tokens), `sample` (texts a second, on texts of mixed length) or `scores` (accuracy of ours on the
test split of ag_news). WAY is `ours`, `ours-32`, `ours-int8`, `pipeline`, `pipeline-bf16`, `onnx`,
`onnx-int8` or `fasttext`; for `scores` it is `all`.
"""

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from measure import WORK, report_results, rows_of
from models import LONGEST, make

TEXTS, BATCH, CALLS = 1024, 32, 200
Predict = Callable[[Sequence[str]], list[str]]


def ours(size: str, precision: str) -> tuple[Predict, Any]:
    """Prediction as on the command line."""
    from selfattn_lm import TextClassifier
    from selfattn_lm.memory import keep_memory

    keep_memory()
    classifier = TextClassifier.load(make(size) / "run", precision)  # type: ignore[arg-type]
    return classifier.predict, classifier.run.tokenizer


def pipeline(size: str, precision: str) -> tuple[Predict, Any]:
    """`transformers.pipeline` in batches of 32 in the given order, as is usual."""
    import torch
    from transformers import pipeline as load

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    found = load("text-classification", str(make(size) / "bert"), device="cpu", dtype=dtype)

    def predict(texts: Sequence[str]) -> list[str]:
        batch = min(BATCH, len(texts))
        return [
            row["label"]
            for row in found(list(texts), batch_size=batch, truncation=True, max_length=LONGEST)
        ]

    return predict, found.tokenizer.backend_tokenizer


def onnx(size: str, precision: str) -> tuple[Predict, Any]:
    """Batches of 32 texts of similar length in onnxruntime, with the same fast tokenizer."""
    import json

    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

    folder = make(size)
    file = folder / "model.onnx"
    if precision == "int8":
        from onnxruntime.quantization import quantize_dynamic

        file = folder / "model-int8.onnx"
        if not file.is_file():
            quantize_dynamic(folder / "model.onnx", file)
    session, tokenizer = (
        InferenceSession(str(file)),
        Tokenizer.from_file(str(folder / "bert" / "tokenizer.json")),
    )
    tokenizer.enable_truncation(LONGEST)
    tokenizer.no_padding()
    names = json.loads((folder / "bert" / "config.json").read_text())["id2label"]

    def predict(texts: Sequence[str]) -> list[str]:
        ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
        order = np.argsort([len(row) for row in ids], kind="stable")
        labels = [""] * len(ids)
        for start in range(0, len(ids), BATCH):
            part = order[start : start + BATCH]
            lengths = np.array([len(ids[i]) for i in part])
            mask = np.arange(lengths.max()) < lengths[:, None]
            padded = np.zeros(mask.shape, dtype=np.int64)
            padded[mask] = np.concatenate([ids[i] for i in part])
            best = session.run(None, {"ids": padded, "mask": mask.astype(np.int64)})[0].argmax(1)
            for i, label in zip(part, best, strict=True):
                labels[i] = names[str(label)]
        return labels

    return predict, tokenizer


def fasttext(size: str, precision: str) -> tuple[Predict, Any]:
    """The fastText model of the other benchmark, trained here on ag_news."""
    from fasttext import load_model
    from peers import fasttext_model

    inner = load_model(str(fasttext_model())).f  # its Python part fails with numpy 2

    def predict(texts: Sequence[str]) -> list[str]:
        return [
            inner.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict")[0][1] for text in texts
        ]

    return predict, None


WAYS = {"ours": ours, "pipeline": pipeline, "onnx": onnx, "fasttext": fasttext}


def texts_per_s(predict: Predict, texts: Sequence[str], seconds: float = 3.0) -> float:
    """Texts a second, after a warm-up, measured for some seconds or on all texts."""
    predict(texts[-4 * BATCH :])
    done = 0
    begun = time.perf_counter()
    while done == 0 or (done < len(texts) and time.perf_counter() - begun < seconds):
        done += len(predict(texts[done : done + TEXTS]))
    return done / (time.perf_counter() - begun)


def latency(predict: Predict, tokenizer: Any, texts: Sequence[str]) -> dict[str, float]:
    """Milliseconds for one text of 32 tokens, with tokenization: median and 99th percentile."""
    chosen = [text for text in texts if len(tokenizer.encode(text).ids) == 32][:CALLS]
    for text in chosen[:20]:
        predict([text])
    took = []
    for text in chosen * (CALLS // len(chosen)):
        begun = time.perf_counter()
        predict([text])
        took.append(1000 * (time.perf_counter() - begun))
    p50, p99 = np.percentile(took, (50, 99))
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def scores(size: str, texts: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy in each precision, and the fraction of texts with the same label as in fp32."""
    said = {
        precision: np.array(ours(size, precision)[0](texts)) for precision in ("32", "bf16", "int8")
    }
    found = {
        f"{precision}_accuracy": float((names == labels).mean())
        for precision, names in said.items()
    }
    return found | {
        f"{precision}_as_32": float((said[precision] == said["32"]).mean()) for precision in said
    }


def main(task: str, way: str, size: str) -> None:
    """Measure, and report the results."""
    warnings.simplefilter("ignore")
    if task == "scores":
        return report_results(**scores(size, *rows_of("ag_news", "test")))
    name, _, precision = way.partition("-")
    predict, tokenizer = WAYS[name](size, precision or ("auto" if name == "ours" else "32"))
    texts, _ = rows_of("ag_news", "test")
    if task == "texts":
        part = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
        counts = (
            [min(LONGEST, len(e.ids)) for e in tokenizer.encode_batch(part)] if tokenizer else [0]
        )
        report_results(texts_per_s=texts_per_s(predict, part), tokens=float(np.mean(counts)))
    elif task == "latency":
        report_results(**latency(predict, tokenizer, texts))
    else:
        part = (WORK / "mixed.sample.txt").read_text().split("\0")
        report_results(texts_per_s=texts_per_s(predict, part))


if __name__ == "__main__":
    main(*sys.argv[1:])
