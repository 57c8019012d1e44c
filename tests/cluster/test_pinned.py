from __future__ import annotations

import threading

import torch

from rayl2o.cluster.pinned import pin


def test_a_thread_of_somebody_elses_choosing_is_pinned() -> None:
    found: list[tuple[int, float]] = []

    def work() -> None:
        torch.set_flush_denormal(False)
        pin()
        found.append((torch.get_num_threads(), float(torch.tensor(1e-40) * 1)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(1, 0.0)]
