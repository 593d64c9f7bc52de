"""The classifier as Lightning trains it. B batch, L labels."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from selfattn_lm.config import TrainingConfig
from selfattn_lm.nn import Classifier
from selfattn_lm.text.batching import Batch, LengthBuckets
from selfattn_lm.training.optimizer import build_optimizer, clip_gradients, warmup_and_decay


class ClassifierModule(LightningModule):
    """Loss (with `label_weights` (L,) if given), validation scores and optimizer around a plain `Classifier`."""

    label_weights: Tensor | None

    def __init__(
        self, model: Classifier, config: TrainingConfig, labels: int, label_weights: Tensor | None, seed: int
    ) -> None:
        super().__init__()
        self.model, self.config, self.seed = model, config, seed
        self.register_buffer("label_weights", label_weights, persistent=False)
        accuracy, macro_f1 = MulticlassAccuracy(labels, average="micro"), MulticlassF1Score(labels, average="macro")
        self.scores = MetricCollection({"accuracy": accuracy, "macro_f1": macro_f1}, prefix="validation/")

    def on_train_start(self) -> None:
        """Skip the batches of this epoch that an interrupted run has done; Lightning would begin the epoch again."""
        sampler: LengthBuckets = self.trainer.train_dataloader.sampler  # type: ignore[union-attr]
        sampler.epoch, sampler.done = self.current_epoch, self.trainer.fit_loop.epoch_loop.batch_progress.current.ready

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step, so that a run taken up again goes on as if it had never stopped."""
        place = (self.current_epoch << 32) + (batch_idx << 8) + self.global_rank
        torch.manual_seed((self.seed * 0x9E3779B97F4A7C15 + place) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "train")[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.scores.update(self._step(batch, "validation")[1], batch.labels)
        self.log_dict(self.scores, batch_size=len(batch.labels))

    def _step(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor]:
        logits = self.model(batch.ids, batch.keep).float()  # (B, L)
        smoothing = self.config.label_smoothing if stage == "train" else 0.0
        loss = F.cross_entropy(logits, batch.labels, self.label_weights, label_smoothing=smoothing)
        self.log(f"{stage}/loss", loss, batch_size=len(batch.labels), on_step=False, on_epoch=True, sync_dist=True)
        return loss, logits

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip by norm; Lightning's own clipping refuses fused optimizers, and torch's sparse gradients."""
        clip_gradients(self.model.parameters(), self.config.clip)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model, self.config.lr, self.config.embedding_lr, self.config.weight_decay)
        schedule = warmup_and_decay(optimizer, int(self.trainer.estimated_stepping_batches), self.config.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
