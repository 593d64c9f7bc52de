"""The files of a run folder."""

CONFIG = "config.yaml"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
FEATURES = "features.json"  # of a run on sequences of vectors, in place of the tokenizer

# The files whose digests are in config.yaml and are checked when a run is read.
CHECKED = ("labels.json", TOKENIZER, FEATURES, "bert.json", WEIGHTS)

# All files that a run writes, in the order in which they replace those of an older run, whose other
# files are deleted before. Once config.yaml is replaced, its digests do not fit the other files, so
# the folder is refused until the weights, the last, are replaced too.
FILES = (CONFIG, "metrics.json", "README.md", "log.csv", "data.json", *CHECKED)

# The folder of checkpoints, and the files that a run writes there.
CHECKPOINTS = "checkpoints"
CHECKPOINT_FILES = ("best.ckpt", "last.ckpt", "tokens.int32")
LAST = f"{CHECKPOINTS}/last.ckpt"  # an interrupted run is resumed from it
