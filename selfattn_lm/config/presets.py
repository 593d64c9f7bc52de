"""Sets of defaults: of presets, of fine-tuning a BERT, of pretraining; and the scope of a study."""

from typing import Any, Literal

Preset = Literal["accurate", "quick"]

# A bag of embeddings learns fast, and falls little short of attention.
PRESETS: dict[str, dict[str, Any]] = {
    "accurate": {},
    "quick": {"model": {"kind": "bag"}, "training": {"batch_size": 256, "learning_rate": 1e-2}},
}
# The defaults for a pretrained BERT: smaller updates, so that it does not forget what it knows.
FINETUNING: dict[str, Any] = {
    "training": {"layer_decay": 0.8, "batch_size": 32, "weight_decay": 0.01, "label_smoothing": 0.0}
}
# The defaults of `pretrain`: masked tokens are predicted from their context, so little of it is
# dropped.
PRETRAINING: dict[str, Any] = {
    "data": {"validation_fraction": 0.05},
    "model": {
        "ngram_branch": False,
        "dropout": 0.1,
        "embedding_dropout": 0.1,
        "token_dropout": 0.0,
    },
    "training": {"monitor": "accuracy", "learning_rate": 2e-3, "weight_decay": 0.01},
}
# What `study` compares by default: the models, and the percentages of the training texts.
STUDIED = ("attention", "cnn", "lstm", "bag", "tfidf")
STUDIED_PERCENTAGES = (1, 3, 10, 30, 100)
