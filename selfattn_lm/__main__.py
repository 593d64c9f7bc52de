"""`python -m selfattn_lm`: the command line."""

import sys

from selfattn_lm.cli import main

if __name__ == "__main__":
    sys.exit(main())
