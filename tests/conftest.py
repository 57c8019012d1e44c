"""Every test runs as results are defined: torch on one thread, denormals flushed."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
torch.set_flush_denormal(True)
