"""The processes of a run that train together: which one writes, and what ends all of them.

Each process reads the data itself, and only the first one writes. Processes that were started by
something else than Lightning (`torchrun`, or a shell) join before they read anything, so that none
waits for one that has ended.
"""

import os

import torch.distributed
from lightning.fabric.utilities.rank_zero import rank_zero_only

from selfattn_lm.config import Settings
from selfattn_lm.errors import UserError
from selfattn_lm.hardware import choose_device, choose_device_count

# Lightning's own processes have no RANK.
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def is_first_process() -> bool:
    """Whether this is the process of the run that writes."""
    rank = getattr(rank_zero_only, "rank", 0)
    return not rank


def join(settings: Settings) -> None:
    """Let the processes of a run on CPUs join; on GPUs Lightning does so when training begins."""
    config = settings.training
    processes = choose_device_count(config.devices) * config.num_nodes
    is_one_of_many = processes > 1 and all(name in os.environ for name in _VARIABLES)
    if not is_one_of_many or torch.distributed.is_initialized():
        return
    if choose_device(config.accelerator) != "cpu":
        return
    try:
        torch.distributed.init_process_group("gloo")
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        names = ", ".join(_VARIABLES)
        raise UserError(f"{names}: the processes of the run cannot join ({reason}).") from None


def is_lost_process(error: RuntimeError) -> bool:
    """Whether an error says that another process of the run has ended."""
    concerns_network = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
    return concerns_network and torch.distributed.is_initialized()
