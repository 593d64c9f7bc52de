"""The same as `selfattn evaluate`."""

import sys

from selfattn_lm.cli import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
