"""SGD for most weights; Muon for the convolutions between many channels, which are matrices: a row a filter."""

import torch
import torch.distributed as dist
from torch import nn


def orthogonal(g: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrix, nearly: five Newton-Schulz steps (https://kellerjordan.github.io/posts/muon)."""
    tall = g.shape[0] > g.shape[1]
    x = (g.t() if tall else g).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(4):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.t() if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, then an orthogonal step. A batch norm follows each matrix, so only its direction counts: its norm is held."""

    def __init__(self, parameters, lr: float, momentum: float = 0.9):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def hold(self):
        """Brings each matrix to its norm."""
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(p.shape[0] ** 0.5 / p.norm())

    @torch.no_grad()
    def step(self):
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        for group in self.param_groups:
            updates = []
            for index, p in enumerate(group["params"]):
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                average = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                # Each process works out its share of the steps; the sum over all is every step.
                mine = index % world == rank
                update = p.grad.add(average, alpha=group["momentum"]).flatten(1)
                updates.append(orthogonal(update).to(p.dtype) if mine else torch.zeros_like(update))
            if world > 1:
                flat = torch.cat([u.flatten() for u in updates])
                dist.all_reduce(flat)
                updates = flat.split([u.numel() for u in updates])
            self.hold()
            for p, update in zip(group["params"], updates):
                p.add_(update.view_as(p), alpha=-group["lr"])


def build(model: nn.Module, kind: str, lr: float, muon_lr: float) -> list[torch.optim.Optimizer]:
    """Weight decay only where it regularises: not on batch norms, biases and the nine weights of a depthwise filter."""
    decayed, plain, matrices = [], [], []
    for p in model.parameters():
        if p.ndim == 4 and p.shape[1] > 3 and kind == "muon":
            matrices.append(p)
        else:
            (decayed if p.ndim == 2 or (p.ndim == 4 and p.shape[1] > 1) else plain).append(p)
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}]
    optimisers = [torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)]
    return optimisers + ([Muon(matrices, muon_lr)] if matrices else [])
