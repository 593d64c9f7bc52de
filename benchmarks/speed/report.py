"""Writes the tables of docs/performance.md, between two marks, and the figure beside it."""

import statistics
from pathlib import Path
from typing import Any

from measure import Found

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- tables: python benchmarks/speed table -->", "<!-- end of tables -->"
MINILM = 2 * 10.6e6  # floating-point operations per token of MiniLM's encoder, forward
NAMES = {
    "ours": "ours", "whole": "ours with n-grams, spelling and two views", "ours-32": "ours, fp32",
    "ours-int8": "ours, int8", "trainer": "`Trainer`, its defaults", "best": "`Trainer`, its best",
    "best-32": "`Trainer`, its best, fp32", "pipeline": "`pipeline`, batches of 32",
    "pipeline-bf16": "`pipeline`, batches of 32, bf16", "onnx": "onnxruntime, sorted", "onnx-int8": "onnxruntime, int8",
    "fasttext": "fastText", "tfidf": "TF-IDF + LinearSVC", "quick": "ours, preset quick",
    "accurate": "ours, preset accurate",
}  # fmt: skip


class Results:
    """The measured values, by the name of a cell."""

    def __init__(self, cells: dict[str, list[Found]]) -> None:
        self.cells = cells

    def values(self, cell: str, key: str) -> list[float]:
        """The value of each repetition."""
        return [found[key] for found in self.cells[cell]]

    def median(self, cell: str, key: str) -> float:
        """The median of the repetitions."""
        return statistics.median(self.values(cell, key))

    def shown(self, cell: str, key: str, digits: int = 0) -> str:
        """The median and the range, as text."""
        values = self.values(cell, key)
        middle = f"{statistics.median(values):,.{digits}f}"
        return (
            middle
            if len(values) == 1
            else f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"
        )

    def ratio(self, one: str, other: str, key: str) -> float:
        """The ratio of the medians of two cells."""
        return self.median(one, key) / self.median(other, key)


def write(results: dict[str, Any]) -> None:
    """Put the tables between the marks, and draw the figure."""
    found = Results(results["cells"])
    parts = [
        targets(found), training(found), profile(found), score(found), inference(found), rows(found), about(results)
    ]  # fmt: skip
    file = DOCS / "performance.md"
    before, _, rest = file.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    file.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}")
    draw(found.cells["shape"][0], DOCS / "speed.png")


def table(title: str, heads: list[str], lines: list[list[str]]) -> str:
    """A table in Markdown."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return f"### {title}\n\n" + "\n".join(
        "| " + " | ".join(line) + " |" for line in [heads, rule, *lines]
    )


def targets(found: Results) -> str:
    """The targets beside the measured values."""
    speed, texts, delay = "tokens_per_s", "texts_per_s", "p50_ms"
    peak = {name: found.median("measure", name) for name in ("bf16", "32")}
    step = {
        name: found.median(f"training {name} 256x4 3", "gflops") for name in ("ours", "ours-32")
    }
    file = {
        way: f"inference texts {way} 384x6"
        for way in ("ours", "ours-32", "ours-int8", "pipeline", "onnx")
    }
    busy = {
        way: found.median(file[way], texts) * found.median(file[way], "tokens") * MINILM / 1e9
        for way in ("ours", "ours-32")
    }
    train = {
        way: f"training {way} 256x4 3" for way in ("ours", "ours-32", "trainer", "best", "best-32")
    }
    first, again = found.values("rows start 1000000", "wall_s")
    memory = [
        found.median(f"rows predict {rows}", "memory_gb") for rows in (10_000, 100_000, 1_000_000)
    ]
    scores, update = (
        found.cells["inference scores all 384x6"][0],
        found.cells["where 128x2 embedding"][0],
    )
    ours, theirs = "inference latency ours 256x4", "inference latency pipeline 256x4"

    def times(one: str, other: str, key: str) -> str:
        return f"{found.ratio(one, other, key):.2f} ×"

    lines = [
        ["training, 256 × 4, over `Trainer`'s defaults", "≥ 5 ×", times(train["ours"], train["trainer"], speed),
         times(train["ours-32"], train["trainer"], speed)],
        ["the same, over `Trainer` at its best", "≥ 1.5 ×", times(train["ours"], train["best"], speed),
         times(train["ours-32"], train["best-32"], speed)],
        ["training step, 256 × 4, of the matrix-product peak", "≥ 50 %", f"{step['ours'] / peak['bf16']:.0%}",
         f"{step['ours-32'] / peak['32']:.0%}"],
        ["training step, 128 × 2, with over without the update of embeddings", "≤ 1.3 ×", f"{update['ratio']:.2f} ×",
         "not run"],
        ["file prediction, MiniLM, over `pipeline`", "≥ 6 ×", times(file["ours"], file["pipeline"], texts),
         times(file["ours-32"], file["pipeline"], texts)],
        ["the same, of the matrix-product peak", "≥ 50 %", f"{busy['ours'] / peak['bf16']:.0%}",
         f"{busy['ours-32'] / peak['32']:.0%}"],
        ["the same, over onnxruntime fp32, sorted", "≥ 1.5 ×", times(file["ours"], file["onnx"], texts),
         times(file["ours-32"], file["onnx"], texts)],
        ["the same, int8 over our bf16 (over our fp32)", "≥ 1.3 ×", times(file["ours-int8"], file["ours"], texts),
         times(file["ours-int8"], file["ours-32"], texts)],
        ["accuracy of int8 less that of bf16 (of fp32)", "≥ −0.3",
         f"{100 * (scores['int8_accuracy'] - scores['bf16_accuracy']):+.2f}",
         f"{100 * (scores['int8_accuracy'] - scores['32_accuracy']):+.2f}"],
        ["latency p50, 256 × 4, 32 tokens, over `pipeline`'s", "≤ 0.33 ×", times(ours, theirs, delay), "not run"],
        ["a million rows: start to first step, first (cached)", "≤ 90 s (≤ 10 s)", f"{first:.0f} s ({again:.0f} s)",
         ""],
        ["the same, peak memory", "≤ 2 GB", f"{max(found.values('rows start 1000000', 'memory_gb')):.2f} GB", ""],
        ["predicting 10,000, 100,000, a million rows: peak memory", "flat",
         ", ".join(f"{value:.2f}" for value in memory) + " GB", ""],
    ]  # fmt: skip
    return table("Targets", ["what", "target", "measured", "fp32"], lines)


def training(found: Results) -> str:
    """Training speed of each way and size."""
    lines = []
    for cell in found.cells:
        part, _, name = cell.partition(" ")
        if part == "training":
            way, size, _ = name.split()
            peak = found.median(
                "measure", "32" if way == "trainer" or way.endswith("-32") else "bf16"
            )
            lines.append([
                f"{size.replace('x', ' × ')}, {NAMES[way]}", found.shown(cell, "tokens_per_s"),
                found.shown(cell, "epoch_s"), f"{found.median(cell, 'padding'):.0%}",
                f"{found.median(cell, 'memory_gb'):.2f}", f"{found.median(cell, 'gflops') / peak:.0%}",
            ])  # fmt: skip
    lines.sort(key=lambda line: int(line[0].split()[0]))
    return table(
        "Training on ag_news",
        ["way", "tokens/s", "epoch, s", "padding", "GB", "of the peak"],
        lines,
    )


def profile(found: Results) -> str:
    """Fractions of a training step by kind of work."""
    shares = found.cells["where 256x4"][0]
    lines = [
        [kind, f"{share:.1%}"]
        for kind, share in shares.items()
        if kind not in ("wall_s", "memory_gb")
    ]
    return table(
        "Where a training step's time goes, 256 × 4 in bf16", ["kind of work", "share"], lines
    )


def score(found: Results) -> str:
    """Seconds to reach the accuracy of TF-IDF."""
    lines = []
    for way in ("tfidf", "fasttext", "quick", "accurate", "best"):
        cell = found.cells.get(f"peers {way}", found.cells.get(f"score {way}", []))[0]
        seconds = f"{cell['seconds']:.1f}" if cell["seconds"] else "not within 90"
        lines.append([NAMES[way], seconds, f"{100 * cell['accuracy']:.2f}"])
    return table(
        "Seconds to TF-IDF's accuracy on held-out rows of ag_news",
        ["way", "seconds", "accuracy"],
        lines,
    )


def inference(found: Results) -> str:
    """Texts a second, latency and cold start."""
    ways = (
        "ours",
        "ours-32",
        "ours-int8",
        "pipeline",
        "pipeline-bf16",
        "onnx",
        "onnx-int8",
        "fasttext",
    )

    def of(cell: str, key: str, digits: int = 0) -> str:
        return found.shown(cell, key, digits) if cell in found.cells else ""

    lines = [
        [
            NAMES[way], of(f"inference texts {way} 384x6", "texts_per_s"),
            of(f"inference texts {way} 384x6", "memory_gb", 2),
            of("rows long ours" if way == "ours" else f"inference sample {way} 128x2", "texts_per_s"),
            of(f"inference latency {way} 256x4", "p50_ms", 2), of(f"inference latency {way} 256x4", "p99_ms", 2),
            of(f"rows cold {way}", "wall_s", 2),
        ]
        for way in ways
    ]  # fmt: skip
    scores = found.cells["inference scores all 384x6"][0]
    told = ", ".join(
        f"{name} {100 * scores[f'{key}_accuracy']:.2f}"
        for name, key in [("fp32", "32"), ("bf16", "bf16"), ("int8", "int8")]
    )
    same = ", ".join(f"{name} {100 * scores[f'{name}_as_32']:.2f} %" for name in ("bf16", "int8"))
    heads = [
        "way",
        "MiniLM, texts/s",
        "GB",
        "mixed lengths, texts/s",
        "p50, ms",
        "p99, ms",
        "cold start, s",
    ]
    below = f"Accuracy of ours on ag_news' test split: {told}. Texts with the label that they get in fp32: {same}."
    return table("Prediction", heads, lines) + "\n\n" + below


def rows(found: Results) -> str:
    """Start-up, speed and memory by number of rows."""
    lines = []
    for count in (10_000, 100_000, 1_000_000):
        first, again = found.cells[f"rows start {count}"]
        predict = f"rows predict {count}"
        lines.append([
            f"{count:,}", f"{first['wall_s']:.1f}", f"{again['wall_s']:.1f}", f"{first['memory_gb']:.2f}",
            f"{again['memory_gb']:.2f}", found.shown(predict, "texts_per_s"), found.shown(predict, "memory_gb", 2),
        ])  # fmt: skip
    heads = [
        "rows",
        "start to first step, s",
        "again, s",
        "GB",
        "again, GB",
        "predicted, texts/s",
        "GB",
    ]
    return table("Many rows", heads, lines)


def about(results: dict[str, Any]) -> str:
    """The machine and the versions, in a sentence."""
    here, found = results["machine"], Results(results["cells"])
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    peaks = ", ".join(
        f"{name} {found.shown('measure', key)}" for name, key in [("bf16", "bf16"), ("fp32", "32")]
    )
    return (
        f"Measured on {here['processor']}, {here['cores']} cores, in {results['seconds'] / 60:.0f} minutes; "
        f"matrix-product peak in GFLOP/s: {peaks}. {versions}."
    )


def draw(shape: Found, file: Path) -> None:
    """Draw tokens a second against text length and batch size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, colour in (("prediction", "tab:blue"), ("training", "tab:orange")):
        rates, lengths = shape[f"{name}_by_length"], shape["lengths"]
        left.plot(lengths, rates, "o-", color=colour, label=f"{name}, measured")
        base = 1 / max(rates)  # seconds a token of short texts; the rest grows with the length
        rise = (1 / rates[-1] - base) / lengths[-1]
        left.plot(
            lengths,
            [1 / (base + rise * T) for T in lengths],
            ":",
            color=colour,
            label="a + b · length a token",
        )
        right.plot(shape["batches"], shape[f"{name}_by_batch"], "o-", color=colour, label=name)
    left.set(xlabel=f"tokens a text, {shape['tokens']:,} tokens a batch", ylabel="tokens a second")
    right.set(xlabel=f"texts a batch, {shape['length']} tokens each", ylabel="tokens a second")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle("Encoder of 256 × 4 in bf16")
    figure.savefig(file, dpi=110)
