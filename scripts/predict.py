"""The same as `selfattn predict`."""

import sys

from selfattn_lm.cli import main

sys.exit(main(["predict", *sys.argv[1:]]))
