"""Training speed of one way, in a process of its own: training.py WAY SIZE SECONDS.

WAY is `ours` (an encoder with only the parts of a BERT), `whole` (with n-grams, character n-grams
and two branches, as it is used), `trainer` (`transformers.Trainer` with its defaults) or `best`
(the same in bf16, with texts of similar length in batches of 64), each also with `-32` for fp32.
SIZE is width x layers, such as 256x4. All learn ag_news from the same token ids.
"""

import contextlib
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import report_results, rows_of

from selfattn_lm.memory import keep_memory

WARM_UP = 3.0  # seconds, not counted, in which oneDNN prepares kernels for new shapes
HEAD = 32  # width of an attention head


class Clock:
    """Counts tokens and seconds of the steps after a warm-up, and decides when to stop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.steps = 0
        self.tokens = 0
        self.padded = 0  # tokens and padding
        self.took = 0.0
        self.first = 0.0
        self.begun = 0.0

    def step(self, attention_mask: Any) -> bool:
        """Count a step, given its attention mask (B, T); return whether the time is up."""
        now = time.perf_counter()
        self.first = self.first or now
        if self.begun:
            self.steps += 1
            self.took = now - self.begun
            self.tokens += int(attention_mask.sum())
            self.padded += attention_mask.numel()
        elif now - self.first > WARM_UP:
            self.begun = now
        return self.took > self.seconds

    def found(self, width: int, layers: int, all_tokens: int) -> dict[str, float]:
        """Rates; `gflops` counts the matrix products, forward and backward, without padding."""
        rate = self.tokens / self.took
        operations = 3 * 2 * 12 * layers * width**2 * rate / 1e9
        steps = self.steps / self.took
        return {
            "tokens_per_s": rate, "epoch_s": all_tokens / rate, "gflops": operations, "steps_per_s": steps,
            "padding": 1 - self.tokens / self.padded,
        }  # fmt: skip


def settings_of(way: str, width: int, layers: int, precision: str) -> dict[str, Any]:
    """Our settings for a model of the given size."""
    model: dict[str, Any] = {"width": width, "layers": layers, "heads": width // HEAD}
    if way == "ours":
        model |= {
            "bag_branch": False,
            "max_ngram": 1,
            "char_ngrams": False,
            "dropout": 0.1,
            "embedding_dropout": 0.1,
        }
        model |= {"token_dropout": 0.0}
    return {"model": model, "training": {"precision": precision, "epochs": 5}}


def prepared(way: str, width: int, layers: int, precision: str) -> Any:
    """Our settings and the prepared training data."""
    from selfattn_lm.config import settings_from
    from selfattn_lm.data.examples import Split
    from selfattn_lm.training.data import prepare

    settings = settings_from(settings_of(way, width, layers, precision), "settings")
    return settings, prepare(
        {"train": Split.from_lists("ag_news", *rows_of("ag_news", "train"))}, settings, None
    )


def ours(
    way: str, width: int, layers: int, precision: str, clock: Clock, callback: Any = None
) -> int:
    """Train with ours until the clock says stop; return the number of tokens of an epoch."""
    from lightning.pytorch import Callback

    from selfattn_lm.build import build_model
    from selfattn_lm.config import Resolved
    from selfattn_lm.errors import Interrupted
    from selfattn_lm.runs.lifecycle import RunFolder
    from selfattn_lm.training.fitting import fit_module
    from selfattn_lm.training.modules import ClassifierModule
    from selfattn_lm.training.resolve import TrainingFacts, resolve_training
    from selfattn_lm.training.trainer import build_trainer

    settings, data = prepared(way, width, layers, precision)
    model = build_model(data.settings, data.featurizer, data.task.outputs, in_training=True)
    facts = TrainingFacts(
        start="scratch",
        rows=len(data.train),
        tokens=data.train.tokens.total,
        batches=400,
        labels=data.task.outputs,
        width=width,
        modules=[branch.encoder for branch in model.branches.values()],
    )
    resolved = Resolved(
        seed=settings.seed,
        data=data.settings.data,
        tokenizer=data.settings.tokenizer,
        model=data.settings.model,
        training=resolve_training(settings.training, facts, data.task.scores),
    )

    class Count(Callback):
        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, _: int
        ) -> None:
            run_trainer.stop.requested = clock.step(batch.inputs.attention_mask)

    with tempfile.TemporaryDirectory() as folder:
        module = ClassifierModule(model, resolved, data.task, data.train.targets)
        place = RunFolder(Path(folder) / "run")
        run_trainer = build_trainer(resolved, place, data.train, data.validation)
        callbacks = [Count()]
        if callback is not None:
            callbacks.append(callback)
        run_trainer.trainer.callbacks[:0] = callbacks
        with contextlib.suppress(Interrupted):  # nothing was validated yet
            fit_module(
                run_trainer, module, data.train, data.validation, resolved, place, resume=False
            )
    return data.train.tokens.total


def theirs(best: bool, width: int, layers: int, precision: str, clock: Clock) -> int:
    """Train with `transformers.Trainer`, as `ours` does."""
    import torch
    from transformers import Trainer, TrainerCallback

    data = prepared("ours", width, layers, precision)[1]

    class Count(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = clock.step(seen.pop())

    seen: list[torch.Tensor] = []
    with tempfile.TemporaryDirectory() as folder:
        model = bert(width, layers, data)
        model.register_forward_pre_hook(
            lambda m, a, kwargs: seen.append(kwargs["attention_mask"]), with_kwargs=True
        )
        collate, arguments = collator(), arguments_of(best, precision, folder)
        Trainer(model, arguments, collate, examples(data.train), callbacks=[Count()]).train()
    return data.train.tokens.total


def bert(width: int, layers: int, data: Any) -> Any:
    """Their model of the same size, with eager attention, the faster one in bf16 on a CPU."""
    from transformers import BertConfig, BertForSequenceClassification

    size = data.featurizer.get_vocab_size()
    config = BertConfig(
        vocab_size=size, hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // HEAD,
        intermediate_size=4 * width, num_labels=data.task.outputs, attn_implementation="eager",
    )  # fmt: skip
    return BertForSequenceClassification(config)


def examples(found: Any) -> list[dict[str, Any]]:
    """Our token ids as examples for `transformers`."""
    return [
        {
            "input_ids": found.tokens[i].tolist(),
            "labels": int(label),
            "length": len(found.tokens[i]),
        }
        for i, label in enumerate(found.targets)
    ]


def collator() -> Any:
    """Dynamic padding; the collator of `transformers` needs a tokenizer of theirs."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        padded, mask = (
            pad_sequence(part, batch_first=True)
            for part in (ids, [torch.ones_like(i) for i in ids])
        )
        return {
            "input_ids": padded,
            "attention_mask": mask,
            "labels": torch.tensor([row["labels"] for row in rows]),
        }

    return collate


def arguments_of(best: bool, precision: str, folder: str, **more: Any) -> Any:
    """The defaults of `transformers`, or the fastest arguments on a CPU."""
    from transformers import TrainingArguments

    usual: dict[str, Any] = {
        "output_dir": folder,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
    }
    usual |= {
        "disable_tqdm": True,
        "logging_strategy": "no",
        "num_train_epochs": 5,
        "remove_unused_columns": False,
    }
    if best:
        usual |= {
            "per_device_train_batch_size": 64,
            "bf16": precision == "bf16",
            "optim": "adamw_torch_fused",
        }
        usual |= {"train_sampling_strategy": "group_by_length", "learning_rate": 5e-4}
    return TrainingArguments(**{**usual, **more})


def main(way: str, size: str, seconds: float) -> None:
    """Measure, and report the results."""
    clock = Clock(seconds)
    way, _, bits = way.partition("-")
    warnings.simplefilter("ignore")
    width, layers = (int(part) for part in size.split("x"))
    if way in ("ours", "whole"):
        keep_memory()  # as the command line does
        tokens = ours(way, width, layers, bits or "bf16", clock)
    else:
        best = way == "best"
        usual = "bf16" if best else "32"
        tokens = theirs(best, width, layers, bits or usual, clock)
    report_results(**clock.found(width, layers, tokens))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
