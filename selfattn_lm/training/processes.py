"""The processes of a run that train together: which one writes, and what ends all if one of them ends.

Each reads the data itself, and only the first one writes. Processes that something else than Lightning has started
(`torchrun`, or a shell) join before they read anything, so that none waits for one that has ended meanwhile.
"""

import os

import torch.distributed
from lightning.fabric.utilities.rank_zero import rank_zero_only

from selfattn_lm.config import Settings
from selfattn_lm.errors import UserError
from selfattn_lm.hardware import choose_device, choose_device_count

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # Lightning's own children lack RANK


def is_first_process() -> bool:
    """Whether this is the process of a run that writes; the others find what it has written."""
    return not getattr(rank_zero_only, "rank", 0)


def join(settings: Settings) -> None:
    """Let the processes of a run on CPUs know each other; on GPUs Lightning does it, when training begins."""
    config = settings.training
    devices = choose_device_count(config.devices) * config.num_nodes
    is_one_of_many = all(name in os.environ for name in _VARIABLES) and devices > 1
    if is_one_of_many and choose_device(config.accelerator) == "cpu" and not torch.distributed.is_initialized():
        try:
            torch.distributed.init_process_group("gloo")
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{', '.join(_VARIABLES)}: the processes of the run cannot join ({reason}).") from None


def is_lost_process(error: RuntimeError) -> bool:
    """Whether an error says that another process of the run has ended before this one."""
    is_of_network = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
    return is_of_network and torch.distributed.is_initialized()
