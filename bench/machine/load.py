"""Load of the whole machine: processor, memory and, if there is one, the GPU."""

import contextlib
import sys
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch


def machine_load(device: "torch.device | None" = None) -> dict[str, float]:
    """Load since the last call, under the names of MLflow's system metrics.

    Args:
        device: The GPU to report. None takes the current one if this process uses any; a CPU reports none.
    """
    memory = psutil.virtual_memory()
    load = {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": (memory.total - memory.available) / 1e6,
        "system/system_memory_usage_percentage": memory.percent,
    }
    torch = sys.modules.get("torch")  # a process that has not imported it uses no GPU
    if torch is None or not torch.cuda.is_initialized() or (device is not None and device.type != "cuda"):
        return load
    free, total = torch.cuda.mem_get_info(device)
    load["system/gpu_0_memory_usage_megabytes"] = (total - free) / 1e6
    load["system/gpu_0_memory_usage_percentage"] = 100 * (1 - free / total)
    with contextlib.suppress(ImportError, RuntimeError):  # without the package nvidia-ml-py, or without its library
        load["system/gpu_0_utilization_percentage"] = torch.cuda.utilization(device)
    return load
