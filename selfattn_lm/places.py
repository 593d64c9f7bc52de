"""Folders on the disk that belong to no run."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for what later runs can reuse.

    This is `SELFATTN_CACHE` if it is set, else `selfattn_lm` in the user's cache folder. Everything
    in it can be computed again, so it may be deleted.
    """
    own = os.environ.get("SELFATTN_CACHE")
    if own:
        return Path(own)
    user_caches = os.environ.get("XDG_CACHE_HOME")
    if user_caches:
        return Path(user_caches) / "selfattn_lm"
    return Path.home() / ".cache" / "selfattn_lm"
