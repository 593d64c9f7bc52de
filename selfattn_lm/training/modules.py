"""The model as Lightning trains it, to classify or to guess hidden tokens. B batch, T tokens, L labels."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from selfattn_lm.config import Settings
from selfattn_lm.features.batching import Batch, LengthBuckets
from selfattn_lm.nn import Classifier, mask_tokens
from selfattn_lm.training.branches import BRANCH_WEIGHTS, choose_branch_weight
from selfattn_lm.training.optimizer import build_optimizer, clip_gradients, warmup_and_decay


class NotFinite(Exception):
    """The loss or its gradient is NaN or infinite, so that training cannot go on; the message says which and when."""


class Module(LightningModule):
    """Optimizer, seeds and clipping around a plain `Classifier`; what it learns is said by `training_step`."""

    def __init__(self, model: Classifier, settings: Settings) -> None:
        super().__init__()
        self.model, self.config, self.seed = model, settings.training, settings.seed

    def on_train_start(self) -> None:
        """Skip the batches of this epoch that an interrupted run has done; Lightning would begin the epoch again."""
        sampler: LengthBuckets = self.trainer.train_dataloader.sampler  # type: ignore[union-attr]
        sampler.epoch, sampler.done = self.current_epoch, self.trainer.fit_loop.epoch_loop.batch_progress.current.ready

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step, so that a run taken up again goes on as if it had never stopped."""
        place = (self.current_epoch << 32) + (batch_idx << 8) + self.global_rank
        torch.manual_seed((self.seed * 0x9E3779B97F4A7C15 + place) % 2**63)

    def log_loss(self, stage: str, loss: Tensor, size: int) -> None:
        self.log(f"{stage}/loss", loss, batch_size=size, on_step=False, on_epoch=True, sync_dist=True)

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip by norm; Lightning's own clipping refuses fused optimizers, and torch's sparse gradients.

        Raises NotFinite before the optimizer could write such a gradient into the weights. Gradients are the same on
        all devices by now, so that all of them stop.
        """
        norm = clip_gradients(self.model.parameters(), self.config.max_grad_norm)
        if not math.isfinite(norm):
            step = self.global_step + 1
            raise NotFinite(f"the loss or its gradient was not a finite number at step {step}")

    def load_best(self, checkpoint: Mapping[str, Any]) -> None:
        """Take the weights that a checkpoint holds, and what was chosen for them when they were validated."""
        self.load_state_dict(checkpoint["state_dict"])

    def configure_optimizers(self) -> Any:
        assert self.config.learning_rate != "auto", "resolve the settings first"
        optimizer = build_optimizer(
            self.model, self.config.learning_rate, self.config.weight_decay, self.config.layer_decay
        )
        schedule = warmup_and_decay(
            optimizer, int(self.trainer.estimated_stepping_batches), self.config.warmup_fraction
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ClassifierModule(Module):
    """Learns the labels of texts, each row weighted in the loss by `label_weights` (L,) of its label if given."""

    label_weights: Tensor | None

    def __init__(self, model: Classifier, settings: Settings, labels: int, label_weights: Tensor | None) -> None:
        super().__init__(model, settings)
        self.register_buffer("label_weights", label_weights, persistent=False)
        self.candidates = BRANCH_WEIGHTS if len(model.branches) == 2 else [1.0]
        self.chosen = self.candidates[0]
        accuracy, macro_f1 = MulticlassAccuracy(labels, average="micro"), MulticlassF1Score(labels, average="macro")
        scores = MetricCollection({"accuracy": accuracy, "macro_f1": macro_f1}, prefix="validation/")
        self.scores: Any = torch.nn.ModuleList([scores.clone() for _ in self.candidates])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self.model.scores(batch.ids, batch.attention_mask).float()  # (K, B, L)
        losses = [
            classification_loss(branch, batch.labels, self.label_weights, self.config.label_smoothing)
            for branch in logits
        ]
        loss = torch.stack(losses).mean()
        self.log_loss("train", loss, len(batch.labels))
        return nan_if_not_finite(loss)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self.model.scores(batch.ids, batch.attention_mask).float()  # (K, B, L)
        losses = [F.cross_entropy(branch, batch.labels) for branch in logits]
        self.log_loss("validation", torch.stack(losses).mean(), len(batch.labels))
        for weight, metrics in zip(self.candidates, self.scores, strict=True):
            metrics.update(logits[0].lerp(logits[-1], weight), batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Choose the branches' weights for the weights just validated, and log the scores with exactly these."""
        scores = [metrics.compute() for metrics in self.scores]
        best = 0
        if len(self.candidates) > 1:
            best = choose_branch_weight([float(score["validation/accuracy"]) for score in scores])
        self.chosen = self.candidates[best]
        self.log_dict(scores[best])
        for metrics in self.scores:
            metrics.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the choice beside the weights that it was made for; it never enters the weights in training."""
        checkpoint["branch_weight"] = self.chosen

    def load_best(self, checkpoint: Mapping[str, Any]) -> None:
        super().load_best(checkpoint)
        if len(self.candidates) > 1:
            weight = checkpoint["branch_weight"]
            self.model.branch_weights.copy_(torch.tensor([1 - weight, weight]))


def classification_loss(logits: Tensor, labels: Tensor, label_weights: Tensor | None, smoothing: float) -> Tensor:
    """The mean cross-entropy with smoothed labels, each row weighted by its label: (B, L), (B,), (L,) -> ().

    Σ w[yᵢ] · loss(i) / Σ w[yᵢ]: the weight is the row's, and not that of the labels over which its target is spread
    (torch's own `weight` weighs these too, so that a rare label would be given to every text).
    """
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)  # (B,)
    if label_weights is None:
        return losses.mean()
    weights = label_weights[labels]  # (B,)
    return (weights * losses).sum() / weights.sum()


def nan_if_not_finite(loss: Tensor) -> Tensor:
    """Make an infinite loss NaN, and with it all gradients: an infinite loss may have finite ones."""
    factor = torch.where(loss.detach().isfinite(), 1.0, math.nan)
    return loss * factor


class MaskedModule(Module):
    """Learns to guess tokens that are hidden from a text (Devlin et al. 2018, 1810.04805); needs no labels.

    Its scores, `validation/loss` and `validation/accuracy`, are those of the hidden tokens, the same each time.
    """

    def __init__(self, model: Classifier, settings: Settings, vocab_size: int) -> None:
        super().__init__(model, settings)
        self.vocab_size = vocab_size

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, _, count = self._guess(batch, None)
        self.log_loss("train", loss, count)
        return nan_if_not_finite(loss)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        random = torch.Generator(batch.ids.device).manual_seed(batch_idx)
        loss, right, count = self._guess(batch, random)
        self.log_loss("validation", loss, count)
        self.log("validation/accuracy", right, batch_size=count, on_epoch=True, sync_dist=True)

    def _guess(self, batch: Batch, random: torch.Generator | None) -> tuple[Tensor, Tensor, int]:
        """Loss and share of right guesses of the tokens that are hidden, and how many they are."""
        ids, hidden = mask_tokens(batch.ids, batch.attention_mask, self.vocab_size, random)
        logits = self.model.mlm_logits(ids, batch.attention_mask, hidden).float()  # (hidden, V)
        target, count = batch.ids[hidden], max(1, int(hidden.sum()))  # a text of unknown tokens has none to guess
        loss = F.cross_entropy(logits, target, reduction="sum") / count
        return loss, (logits.argmax(1) == target).sum() / count, count
