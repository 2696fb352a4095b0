"""kernels.cpp as autograd functions: the same mathematics as the plain modules, several times faster on a CPU."""

import pathlib

import torch
from torch import nn
from torch.utils.cpp_extension import load

_kernels = None


def enable() -> None:
    """Compiles the kernels, where the CPU has bfloat16 arithmetic; without this call the plain modules run."""
    global _kernels
    cpu = pathlib.Path("/proc/cpuinfo")
    if cpu.exists() and "avx512_bf16" in cpu.read_text():
        source = pathlib.Path(__file__).with_name("kernels.cpp")
        _kernels = load("pinhole_kernels", [str(source)], extra_cflags=["-O3", "-march=native", "-ffast-math"])


def usable(x: torch.Tensor) -> bool:
    return _kernels is not None and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def _track(bn: nn.BatchNorm2d, norm: torch.Tensor, count: int) -> None:
    """What nn.BatchNorm2d does to its running statistics while training."""
    bn.running_mean.lerp_(norm[2], bn.momentum)
    bn.running_var.lerp_(norm[4] * (count / (count - 1)), bn.momentum)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, residual, bn, relu):
        empty = torch.empty(0) if residual is None else residual
        y, norm = _kernels.norm_forward(x, weight, bias, empty, relu, bn.eps)
        _track(bn, norm, x.numel() // x.shape[1])
        ctx.save_for_backward(x, norm)
        ctx.relu, ctx.added = relu, residual is not None
        return y

    @staticmethod
    def backward(ctx, grad):
        grad = grad.contiguous(memory_format=torch.channels_last)
        dx, dweight, dbias = _kernels.norm_backward(grad, *ctx.saved_tensors, ctx.relu)
        return dx, dweight, dbias, grad if ctx.added else None, None, None


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight1, bias1, kernel, weight2, bias2, bn1, bn2, stride):
        taps = kernel.reshape(-1, 9).t().contiguous()
        norm1 = _kernels.norm_of(x, weight1, bias1, bn1.eps)
        a, y, norm2 = _kernels.depthwise_forward(x, norm1, taps, weight2, bias2, stride, bn2.eps)
        _track(bn1, norm1, x.numel() // x.shape[1])
        _track(bn2, norm2, y.numel() // y.shape[1])
        ctx.save_for_backward(x, y, norm1, norm2, taps)
        ctx.stride = stride
        return a

    @staticmethod
    def backward(ctx, grad):
        grad = grad.contiguous(memory_format=torch.channels_last)
        dx, dweight1, dbias1, dtaps, dweight2, dbias2 = _kernels.depthwise_backward(grad, *ctx.saved_tensors, ctx.stride)
        return dx, dweight1, dbias1, dtaps.t().reshape(-1, 1, 3, 3), dweight2, dbias2, None, None, None


class _Pointwise(torch.autograd.Function):
    """A 1x1 convolution as three plain matrix products: half the time of oneDNN's convolution."""

    @staticmethod
    def forward(ctx, x, weight):
        n, channels, height, width = x.shape
        rows, matrix = x.permute(0, 2, 3, 1).reshape(-1, channels), weight.flatten(1).bfloat16()
        ctx.save_for_backward(rows, matrix)
        return (rows @ matrix.t()).view(n, height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, grad):
        rows, matrix = ctx.saved_tensors
        n, channels, height, width = grad.shape
        grad = grad.permute(0, 2, 3, 1).reshape(-1, channels)
        dx = (grad @ matrix).view(n, height, width, -1).permute(0, 3, 1, 2)
        return dx, (grad.t() @ rows).float()[:, :, None, None]


def convolve(x, conv: nn.Conv2d):
    """Any convolution without a bias; 1x1 ones fast."""
    return _Pointwise.apply(x, conv.weight) if conv.kernel_size == (1, 1) else conv(x)


def norm(x, bn: nn.BatchNorm2d, relu: bool, residual=None):
    return _Norm.apply(x, bn.weight, bn.bias, residual, bn, relu)


def depthwise(x, bn1: nn.BatchNorm2d, conv: nn.Conv2d, bn2: nn.BatchNorm2d):
    """relu6(bn2(conv(relu6(bn1(x)))))"""
    return _Depthwise.apply(x, bn1.weight, bn1.bias, conv.weight, bn2.weight, bn2.bias, bn1, bn2, conv.stride[0])
