from typing import Any

import torch
from torch import nn

from selfattn_lm.nn.embedding import token_table
from selfattn_lm.training.optimizer import RowAdamW, clip_gradients


def test_rows_touched_in_every_step_move_as_with_plain_adam_and_others_not_at_all() -> None:
    torch.manual_seed(0)
    sparse, dense = token_table(5, 3), nn.Embedding(5, 3)
    dense.load_state_dict(sparse.state_dict())
    before = sparse.weight.clone()
    ours = RowAdamW(sparse.parameters(), lr=0.05, fused=True)  # which never decays a sparse table
    plain = torch.optim.AdamW(dense.parameters(), lr=0.05, weight_decay=0)
    for step in range(4):
        for table, optimizer in ((sparse, ours), (dense, plain)):
            (table(torch.tensor([0, 2, 2])) ** 2 * (step + 1)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(sparse.weight, dense.weight)
    assert torch.equal(sparse.weight[[1, 3, 4]], before[[1, 3, 4]])
    assert not torch.equal(sparse.weight[2], before[2])


def test_a_row_left_alone_for_a_step_stays_where_plain_adam_moves_it_on() -> None:
    sparse, dense = token_table(2, 3), nn.Embedding(2, 3)
    dense.load_state_dict(sparse.state_dict())
    before = sparse.weight.detach().clone()
    ours = RowAdamW(sparse.parameters(), lr=0.05, fused=True)  # which never decays a sparse table
    plain = torch.optim.AdamW(dense.parameters(), lr=0.05, weight_decay=0)
    for row in (0, 1):
        for table, optimizer in ((sparse, ours), (dense, plain)):
            table(torch.tensor([row])).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    # The first step, and no more.
    torch.testing.assert_close(sparse.weight[0], before[0] - 0.05, atol=1e-5, rtol=0)
    assert (dense.weight[0] < sparse.weight[0] - 0.03).all()
    torch.testing.assert_close(sparse.weight[1], dense.weight[1], atol=1e-6, rtol=0)
    assert (sparse.weight[1] < before[1] - 0.03).all()


def test_clipping_scales_sparse_and_dense_gradients_together() -> None:
    table: Any = token_table(4, 2)
    line: Any = nn.Linear(2, 1, bias=False)
    line(table(torch.tensor([1, 1, 3]))).sum().mul(100).backward()
    parameters = [table.weight, line.weight]
    before = [p.grad.to_dense().clone() for p in parameters]
    norm = torch.cat([g.flatten() for g in before]).norm()
    clip_gradients(parameters, 1.0)
    for parameter, gradient in zip(parameters, before, strict=True):
        torch.testing.assert_close(parameter.grad.to_dense(), gradient / norm)
    clip_gradients(parameters, 5.0)  # already shorter: left as they are
    torch.testing.assert_close(line.weight.grad, before[1] / norm)
