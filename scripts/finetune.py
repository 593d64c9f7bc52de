"""Fine-tune a run on other data: `finetune.py RUN DATA [flags of selfattn train]`."""

import sys

from selfattn_lm.cli import main

if len(sys.argv) < 3:
    sys.exit("usage: finetune.py RUN DATA [flags of selfattn train]")
sys.exit(main(["train", sys.argv[2], "--init", sys.argv[1], *sys.argv[3:]]))
