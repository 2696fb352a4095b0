"""MobileNetV2 for small pictures: the paper's block, in a table that spends little where pixels are many. And a teacher for it."""

import torch
import torch.nn.functional as F
from torch import nn

import fused

# "first" is the first block's (output channels, stride); then a row a stage: (expansion, output channels, blocks, stride).
ARCHITECTURES = {
    # 71 million multiply-adds, 1.5 million weights. Expansion 3 and wide bottlenecks: on a CPU the depthwise layers
    # between them cost the time, and the 1x1 convolutions are nearly free.
    "small32": {
        "stem": 48,
        "first": (64, 2),
        "stages": [(3, 64, 3, 1), (3, 128, 5, 2), (4, 192, 3, 2)],
        "head": 768,
    },
    # The paper's table with the strides usual for 32x32: about 90 million multiply-adds, for a GPU.
    "paper32": {
        "stem": 32,
        "first": (16, 1),
        "stages": [(6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)],
        "head": 1280,
    },
}

# Widths of three blocks of two convolutions.
PLAIN = {
    # 301 million multiply-adds, 4.6 million weights.
    "plain32": [128, 384, 384],
}


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless linear, ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False):
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), *([] if linear else [nn.ReLU6(inplace=True)]))

    def fused(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        return fused.norm(fused.convolve(x, self[0]), self[1], len(self) == 3, residual)


class InvertedResidual(nn.Module):
    """Expand with 1x1, filter with depthwise 3x3, project with a linear 1x1; add the input where shapes agree."""

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int, kernel: int = 1):
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.expand = ConvNorm(inputs, hidden, kernel)
        self.depthwise = ConvNorm(hidden, hidden, 3, stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs, 1, linear=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and fused.usable(x):
            y = fused.depthwise(fused.convolve(x, self.expand[0]), self.expand[1], self.depthwise[0], self.depthwise[1])
            return self.project.fused(y, x if self.residual else None)
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    def __init__(self, architecture: str, classes: int = 10):
        super().__init__()
        table = ARCHITECTURES[architecture]
        # The paper's first block has no expansion of its own: the stem, a full 3x3 convolution, stands in its place.
        channels, stride = table["first"]
        blocks = [InvertedResidual(3, table["stem"], channels, stride, kernel=3)]
        for expansion, outputs, count, stride in table["stages"]:
            for block in range(count):
                blocks.append(InvertedResidual(channels, channels * expansion, outputs, stride if block == 0 else 1))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(channels, table["head"], 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(table["head"], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(x)
        x = self.head.fused(x) if self.training and fused.usable(x) else self.head(x)
        return self.classifier(self.pool(x).flatten(1))


class Plain(nn.Module):
    """Plain 3x3 convolutions, most of them on few pixels: a teacher that learns in few epochs. Not for export.

    The ideas are those of the speed runs on CIFAR-10 (https://arxiv.org/abs/2404.00498): a first layer that whitens patches and is
    never trained, convolutions that start as the identity, pooling before batch norm, small logits.
    """

    def __init__(self, widths: list[int], classes: int = 10):
        super().__init__()
        self.register_buffer("filters", torch.zeros(24, 3, 2, 2))
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        channels = len(self.filters)
        for width in widths:
            for inputs in (channels, width):
                conv = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
                nn.init.dirac_(conv.weight.data[:inputs])
                self.convolutions.append(conv)
                self.norms.append(nn.BatchNorm2d(width))
            channels = width
        self.classifier = nn.Linear(channels, classes)

    @torch.no_grad()
    def whiten(self, views: torch.Tensor) -> None:
        """Filters that make the 12 numbers of a 2x2 patch of `views` independent and of one size; and their negatives, for the ReLU."""
        patches = F.unfold(views, 2).transpose(1, 2).flatten(0, 1)
        variances, vectors = torch.linalg.eigh(patches.t() @ patches / len(patches))
        filters = (vectors / (variances + 1e-3).sqrt()).t().reshape(-1, 3, 2, 2)
        self.filters.copy_(torch.cat([filters, -filters]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(F.conv2d(x, self.filters))
        for index, (conv, norm) in enumerate(zip(self.convolutions, self.norms)):
            x = conv(x)
            if index % 2 == 0:
                x = F.max_pool2d(x, 2)
            x = fused.norm(x, norm, True) if self.training and fused.usable(x) else F.relu6(norm(x))
        return self.classifier(x.amax((2, 3))) / 9


def network(architecture: str) -> nn.Module:
    return Plain(PLAIN[architecture]) if architecture in PLAIN else MobileNetV2(architecture)
