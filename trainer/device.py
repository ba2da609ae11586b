"""Where the arithmetic runs."""

import torch

from trainer.errors import ConfigError


def find_device(wanted: str, *, local_rank: int = 0) -> torch.device:
    """The device; ConfigError at once where the machine lacks it. Ranks share a machine's GPUs."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(
                "device: cuda is asked for, and this machine has none",
                hint="add +hardware=macbook, mac_parallel or github, which set device: cpu",
            )
        device = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
        return device
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            "device: mps is asked for, and this machine has none",
            hint="add +hardware=macbook, which sets device: cpu",
        )
    return torch.device(wanted)
