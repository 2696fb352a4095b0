"""The fused kernels answer what the plain modules do, forwards and backwards: `python test_fused.py`.

Both are set against float32. bfloat16 itself costs likeness, so the plain modules in bfloat16 are the yardstick.
"""

import torch

import fused
from model import InvertedResidual


def results(block, x, fast, kind):
    kernels = fused._kernels
    if not fast:
        fused._kernels = None
    copy = x.to(kind, memory_format=torch.channels_last, copy=True).requires_grad_()
    block.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        y = block(copy)
    # Weights every output differently, so that no gradient vanishes in a batch norm.
    (y.float() * torch.linspace(-1, 1, y.numel()).sin().view_as(y) * y.float()).sum().backward()
    fused._kernels = kernels
    named = {"output": y.detach().float(), "input gradient": copy.grad.float()}
    return named | {name + " gradient": p.grad.clone() for name, p in block.named_parameters()}


if __name__ == "__main__":
    fused.enable()
    assert fused._kernels is not None, "this CPU has no bfloat16 arithmetic: there is nothing to test"
    for hidden, outputs, stride in [(96, 32, 1), (96, 48, 2), (48, 32, 1)]:
        torch.manual_seed(0)
        block = InvertedResidual(32, hidden, outputs, stride).to(memory_format=torch.channels_last).train()
        for module in block.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.uniform_(module.bias, -0.5, 1.5)
        x = torch.randn(16, 32, 12, 12)
        exact = results(block, x, False, torch.float32)
        plain, fast = results(block, x, False, torch.bfloat16), results(block, x, True, torch.bfloat16)
        for name in exact:
            ours, theirs = (1 - torch.cosine_similarity(exact[name].flatten(), r[name].flatten(), 0).item() for r in (fast, plain))
            assert ours < 2 * theirs + 1e-3, f"{name}: off by {ours} where the plain modules are off by {theirs}"
        print(f"hidden {hidden}, outputs {outputs}, stride {stride}: as close to float32 as the plain modules in bfloat16")
