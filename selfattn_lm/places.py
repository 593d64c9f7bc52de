"""Where on the disk lies what belongs to no run."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder of what is kept between runs: SELFATTN_CACHE, or `selfattn_lm` among the user's caches.

    Everything in it can be computed again, so it may be deleted.
    """
    if own := os.environ.get("SELFATTN_CACHE"):
        return Path(own)
    common = os.environ.get("XDG_CACHE_HOME")
    caches = Path(common) if common else Path.home() / ".cache"
    return caches / "selfattn_lm"
