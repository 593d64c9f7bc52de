"""A pretrained model at work: a text with [MASK] in, the most probable tokens out."""

from pathlib import Path

import numpy as np
import torch

from selfattn_lm.errors import UserError
from selfattn_lm.features.batching import pad
from selfattn_lm.features.ngrams import add_ngrams
from selfattn_lm.features.tokenizer import CLS_ID, MASK, MASK_ID
from selfattn_lm.runs import Run, read_run


class MaskedModel:
    """Predicts the masked tokens of a text; from a run folder of `selfattn pretrain`."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @classmethod
    def load(cls, folder: str | Path) -> "MaskedModel":
        """Load a run folder; one that was trained on labels is refused."""
        run = read_run(Path(folder))
        if run.task is not None or run.bert:  # of a BERT only the encoder is read
            reason = "is a classifier, not a masked language model"
            raise UserError(f"{folder}: {reason}; `selfattn pretrain` trains one.")
        return cls(run)

    def fill(self, text: str, top_k: int = 5) -> list[list[tuple[str, float]]]:
        """Find the `top_k` most probable tokens for each `[MASK]`, with their probabilities."""
        tokenizer, config = self.run.tokenizer, self.run.resolved.model
        ids = [CLS_ID]
        for i, part in enumerate(text.split(MASK)):
            if i > 0:
                ids.append(MASK_ID)
            ids.extend(tokenizer.encode(part, add_special_tokens=False).ids)
        padded = pad([np.array(ids[: config.max_length])])
        inputs = add_ngrams(padded, config.max_ngram, config.ngram_buckets)
        with torch.inference_mode():
            logits = self.run.model.mlm_logits(inputs, inputs.tokens == MASK_ID)  # (M, V)
        probabilities, token_ids = logits.float().softmax(-1).topk(top_k)  # (M, top_k)
        filled = []
        for row_ids, row in zip(token_ids.tolist(), probabilities.tolist(), strict=True):
            tokens = [str(tokenizer.id_to_token(i)) for i in row_ids]
            filled.append(list(zip(tokens, row, strict=True)))
        return filled
