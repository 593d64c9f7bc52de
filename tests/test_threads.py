from concurrent.futures import ThreadPoolExecutor

import torch

from selfattn_lm.threads import single_core_threads


def test_a_thread_computes_on_one_core_and_others_begin_with_what_they_had() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for _ in range(2):
            with single_core_threads(2) as threads:
                counts = [threads.submit(torch.get_num_threads) for _ in range(4)]
                assert [count.result() for count in counts] == [1, 1, 1, 1]
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
