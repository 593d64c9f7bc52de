"""`python -m selfattn_lm`: the command line."""

import sys

from selfattn_lm.cli import main

sys.exit(main())
