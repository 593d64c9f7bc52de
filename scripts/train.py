"""The same as `selfattn train`."""

import sys

from selfattn_lm.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
