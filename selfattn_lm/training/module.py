"""The model as Lightning trains it, to classify or to guess hidden tokens. B batch, T tokens, L labels."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from selfattn_lm.config import Settings
from selfattn_lm.nn import Classifier, hide_tokens
from selfattn_lm.text.batching import Batch, LengthBuckets
from selfattn_lm.training.optimizer import build_optimizer, clip_gradients, warmup_and_decay


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
        """Clip by norm; Lightning's own clipping refuses fused optimizers, and torch's sparse gradients."""
        clip_gradients(self.model.parameters(), self.config.clip)

    def configure_optimizers(self) -> Any:
        assert self.config.lr != "auto", "resolve the settings first"
        optimizer = build_optimizer(self.model, self.config.lr, self.config.weight_decay, self.config.layer_decay)
        schedule = warmup_and_decay(optimizer, int(self.trainer.estimated_stepping_batches), self.config.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ClassifierModule(Module):
    """Learns the labels of texts, weighted in the loss by `label_weights` (L,) if given."""

    label_weights: Tensor | None

    def __init__(self, model: Classifier, settings: Settings, labels: int, label_weights: Tensor | None) -> None:
        super().__init__(model, settings)
        self.register_buffer("label_weights", label_weights, persistent=False)
        self.weights = [step / 10 for step in range(11)] if len(model.views) == 2 else [1.0]  # of the last view
        accuracy, macro_f1 = MulticlassAccuracy(labels, average="micro"), MulticlassF1Score(labels, average="macro")
        scores = MetricCollection({"accuracy": accuracy, "macro_f1": macro_f1}, prefix="validation/")
        self.scores: Any = torch.nn.ModuleList([scores.clone() for _ in self.weights])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "train")[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        scores = self._step(batch, "validation")[1]
        for weight, metrics in zip(self.weights, self.scores, strict=True):
            metrics.update(scores[0].lerp(scores[-1], weight), batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Weigh the views by what validates best; a weight is judged with its neighbours, which differ by chance."""
        found = [metrics.compute() for metrics in self.scores]
        accuracy = torch.stack([scores["validation/accuracy"] for scores in found])[None]  # (1, weights)
        smooth = F.avg_pool1d(F.pad(accuracy, (1, 1), mode="replicate"), 3, stride=1)[0]
        even = (torch.tensor(self.weights, device=smooth.device) - 0.5).abs()
        best = int((smooth - 1e-6 * even).argmax())  # at a tie the most even one
        if len(self.weights) > 1:
            self.model.mix.copy_(torch.tensor([1 - self.weights[best], self.weights[best]]))
        self.log_dict(found[best])
        for metrics in self.scores:
            metrics.reset()

    def _step(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor]:
        """The loss, and the scores of each view: (), (K, B, L)."""
        scores = self.model.scores(batch.ids, batch.keep).float()
        weights, smoothing = self.label_weights, self.config.label_smoothing if stage == "train" else 0.0
        losses = [F.cross_entropy(view, batch.labels, weights, label_smoothing=smoothing) for view in scores]
        loss = torch.stack(losses).mean()
        self.log_loss(stage, loss, len(batch.labels))
        return loss, scores


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
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        random = torch.Generator(batch.ids.device).manual_seed(batch_idx)
        loss, right, count = self._guess(batch, random)
        self.log_loss("validation", loss, count)
        self.log("validation/accuracy", right, batch_size=count, on_epoch=True, sync_dist=True)

    def _guess(self, batch: Batch, random: torch.Generator | None) -> tuple[Tensor, Tensor, int]:
        """Loss and share of right guesses of the tokens that are hidden, and how many they are."""
        ids, hidden = hide_tokens(batch.ids, batch.keep, self.vocab_size, random)
        logits = self.model.guess(ids, batch.keep, hidden).float()  # (hidden, V)
        target, count = batch.ids[hidden], max(1, int(hidden.sum()))  # a text of unknown tokens has none to guess
        loss = F.cross_entropy(logits, target, reduction="sum") / count
        return loss, (logits.argmax(1) == target).sum() / count, count
