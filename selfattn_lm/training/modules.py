"""The model as Lightning trains it: to classify, or to predict masked tokens.

B batch, T tokens, L labels, K branches, M masked tokens.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F

from selfattn_lm.config import Resolved
from selfattn_lm.features.batching import LengthBuckets
from selfattn_lm.features.ngrams import add_ngrams
from selfattn_lm.inputs import Batch, Inputs, pool_documents
from selfattn_lm.nn import Classifier
from selfattn_lm.tasks import Task
from selfattn_lm.training.branches import ValidationLogits, choose_branch_weights
from selfattn_lm.training.masking import drop_tokens, mask_tokens
from selfattn_lm.training.optimizer import build_optimizer, clip_gradients, warmup_and_decay


class NotFinite(Exception):
    """The loss or its gradient is NaN or infinite, so training cannot go on."""


class BaseModule(LightningModule):
    """Optimizer, seeds and clipping around a plain `Classifier`."""

    def __init__(self, model: Classifier, settings: Resolved) -> None:
        super().__init__()
        self.model = model
        self.model_config = settings.model
        self.config = settings.training
        self.seed = settings.seed

    def prepare(self, inputs: Inputs) -> Inputs:
        """Mask some tokens in training, and compute the n-grams of what the model will read."""
        # A masked token would seem to be one that the texts of a pair do not share.
        if self.training and inputs.types is None:
            tokens = drop_tokens(inputs.tokens, self.model_config.token_dropout)
            inputs = inputs._replace(tokens=tokens)
        config = self.model_config
        return add_ngrams(inputs, config.max_ngram, config.ngram_buckets)

    def on_train_start(self) -> None:
        """Skip the batches of this epoch that an interrupted run has done.

        Lightning would begin the epoch again.
        """
        sampler: LengthBuckets = self.trainer.train_dataloader.sampler  # type: ignore[union-attr]
        sampler.epoch = self.current_epoch
        sampler.done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step, so that a resumed run continues as if it had never been interrupted."""
        step = (self.current_epoch << 32) + (batch_idx << 8) + self.global_rank
        torch.manual_seed((self.seed * 0x9E3779B97F4A7C15 + step) % 2**63)

    def log_loss(self, stage: str, loss: Tensor, size: int) -> None:
        self.log(
            f"{stage}/loss", loss, batch_size=size, on_step=False, on_epoch=True, sync_dist=True
        )

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip by norm: Lightning's own clipping refuses fused optimizers and sparse gradients.

        Raises NotFinite before the optimizer could write such a gradient into the weights. All
        devices have the same gradients by now, so all of them stop.
        """
        norm = clip_gradients(self.model.parameters(), self.config.max_grad_norm)
        if not math.isfinite(norm):
            step = self.global_step + 1
            raise NotFinite(f"the loss or its gradient was not a finite number at step {step}")

    def load_best(self, checkpoint: Mapping[str, Any]) -> None:
        """Load the weights of a checkpoint, and what was chosen for them when they validated."""
        self.load_state_dict(checkpoint["state_dict"])

    def configure_optimizers(self) -> Any:
        config = self.config
        optimizer = build_optimizer(
            self.model, config.learning_rate, config.weight_decay, config.layer_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_and_decay(optimizer, steps, config.warmup_fraction)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ClassifierModule(BaseModule):
    """Learns the targets of texts.

    Args:
        model: The model.
        settings: The settings of the run.
        task: What is predicted: it gives the losses and the scores.
        targets: The encoded targets of the training split.
    """

    def __init__(
        self, model: Classifier, settings: Resolved, task: Task, targets: np.ndarray
    ) -> None:
        super().__init__(model, settings)
        self.task = task
        self.training_loss = task.training_loss(settings.training, targets)
        self.branch_weights = model.branch_weights.clone()
        self.metrics: Any = task.metrics().clone(prefix="validation/")
        self.validated = ValidationLogits()

    def trained_logits(self, inputs: Inputs) -> Tensor:
        """Compute the logits of each branch on the embedding: (B, T) -> (branches, B, L).

        The logits of a text in windows are the mean of theirs. A validated text may have more
        windows than fit in a batch, so they are computed in parts.
        """
        if inputs.documents is None:
            return self.model.trained_logits(self.prepare(inputs)).float()
        parts = [inputs]
        if not self.training:
            length = inputs.tokens.shape[1]
            parts = inputs.split(max(1, self.config.batch_tokens // length))
        logits = [self.model.trained_logits(self.prepare(part)).float() for part in parts]
        return pool_documents(torch.cat(logits, dim=1), inputs.documents)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        by_branch = self.trained_logits(batch.inputs)  # (branches, B, L)
        losses = [self.training_loss(logits, batch.targets) for logits in by_branch]
        loss = torch.stack(losses).mean()
        self.log_loss("train", loss, len(batch.targets))
        return nan_if_not_finite(loss)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        trained = self.trained_logits(batch.inputs)  # (branches, B, L)
        losses = [self.task.loss(logits, batch.targets) for logits in trained]
        self.log_loss("validation", torch.stack(losses).mean(), len(batch.targets))
        by_branch = self.model.with_ngrams(trained, batch.inputs)  # (K, B, L)
        self.validated.update(by_branch.transpose(0, 1), batch.targets)

    def on_validation_epoch_end(self) -> None:
        """Choose the branch weights for the weights just validated, and log their scores."""
        logits, targets = self.validated.compute()  # (N, K, L), (N, …)
        self.validated.reset()
        by_branch = logits.transpose(0, 1)
        self.branch_weights = choose_branch_weights(self.task, by_branch, targets)
        combined = torch.tensordot(self.branch_weights, by_branch, dims=1)  # (N, L)
        self.log_dict(self.metrics(combined, targets))
        self.metrics.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the choice beside the weights it was made for; training never uses it."""
        checkpoint["branch_weights"] = self.branch_weights

    def load_best(self, checkpoint: Mapping[str, Any]) -> None:
        super().load_best(checkpoint)
        self.model.branch_weights.copy_(checkpoint["branch_weights"])


def nan_if_not_finite(loss: Tensor) -> Tensor:
    """Turn an infinite loss, whose gradients may be finite, into NaN, and its gradients with it."""
    factor = torch.where(loss.detach().isfinite(), 1.0, math.nan)
    return loss * factor


class MaskedModule(BaseModule):
    """Learns to predict masked tokens (Devlin et al. 2018, 1810.04805); needs no labels.

    Its scores, `validation/loss` and `validation/accuracy`, are those of masked tokens, which are
    the same in each validation.
    """

    def __init__(self, model: Classifier, settings: Resolved, vocab_size: int) -> None:
        super().__init__(model, settings)
        self.vocab_size = vocab_size

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, _, count = self._predict_masked(batch.inputs, None)
        self.log_loss("train", loss, count)
        return nan_if_not_finite(loss)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        random = torch.Generator(batch.inputs.tokens.device).manual_seed(batch_idx)
        loss, accuracy, count = self._predict_masked(batch.inputs, random)
        self.log_loss("validation", loss, count)
        self.log("validation/accuracy", accuracy, batch_size=count, on_epoch=True, sync_dist=True)

    def _predict_masked(
        self, inputs: Inputs, random: torch.Generator | None
    ) -> tuple[Tensor, Tensor, int]:
        """Mask tokens and predict them: loss, accuracy, and the number of predicted tokens."""
        ids, masked = mask_tokens(inputs.tokens, inputs.attention_mask, self.vocab_size, random)
        prepared = self.prepare(inputs._replace(tokens=ids))
        logits = self.model.mlm_logits(prepared, masked).float()  # (M, V)
        targets = inputs.tokens[masked]  # (M,)
        count = max(1, int(masked.sum()))  # a text of unknown tokens has none
        loss = F.cross_entropy(logits, targets, reduction="sum") / count
        accuracy = (logits.argmax(1) == targets).sum() / count
        return loss, accuracy, count
