"""A pretrained model at work: a text with hidden words in, the words it would put there out."""

from pathlib import Path

import numpy as np
import torch

from selfattn_lm.errors import UserError
from selfattn_lm.features.batching import pad
from selfattn_lm.features.tokenizer import CLS, MASK, SPECIAL
from selfattn_lm.nn.embedding import MASK_ID
from selfattn_lm.runs import Run, read_run


class MaskedModel:
    """Guesses the tokens hidden from a text; from a run folder of `selfattn pretrain`."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @classmethod
    def load(cls, folder: str | Path) -> "MaskedModel":
        """Load a run folder; one that was trained on labels is refused."""
        run = read_run(Path(folder))
        if run.labels or run.bert:  # of a BERT its encoder alone is read
            raise UserError(
                f"{folder}: classifies texts and guesses no words; `selfattn pretrain` makes a run that does."
            )
        return cls(run)

    def fill(self, text: str, top_k: int = 5) -> list[list[tuple[str, float]]]:
        """For each `[MASK]` in the text its most probable tokens, with their probabilities."""
        tokenizer, longest = self.run.tokenizer, self.run.in_effect.model.max_length
        assert longest != "auto"
        ids = [SPECIAL.index(CLS)]
        for i, part in enumerate(text.split(MASK)):
            ids += [MASK_ID] * (i > 0) + tokenizer.encode(part, add_special_tokens=False).ids
        batch = pad([np.array(ids[:longest])], [0])
        with torch.inference_mode():
            scores = self.run.model.mlm_logits(batch.ids, batch.attention_mask, batch.ids == MASK_ID)  # (hidden, V)
        best = scores.float().softmax(-1).topk(top_k)
        pairs = (zip(*both, strict=True) for both in zip(best.indices.tolist(), best.values.tolist(), strict=True))
        return [[(str(tokenizer.id_to_token(i)), share) for i, share in row] for row in pairs]
