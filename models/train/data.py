"""CIFAR-10 as uint8 tensors in memory, and augmentation of whole batches with tensor operations."""

import io
import pathlib
import pickle
import tarfile
import zipfile

import numpy
import torch
import torch.nn.functional as F
from PIL import Image

LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MEAN = [0.49, 0.48, 0.45]
STD = [0.25, 0.24, 0.26]
SIDE = 32


def load(path: pathlib.Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [n, 3, 32, 32] uint8 and labels [n]; split is "train" or "test".

    `path` is a zip of `train/airplane/0000.jpg` and so on, or the official `cifar-10-python.tar.gz`.
    """
    images, labels = (_zip if path.suffix == ".zip" else _official)(path, split)
    return torch.from_numpy(numpy.stack(images)), torch.tensor(labels)


def _zip(path, split):
    images, labels = [], []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            parts = name.split("/")
            if parts[0] == split and name.endswith((".jpg", ".png")):
                picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
                images.append(numpy.asarray(picture).transpose(2, 0, 1))
                labels.append(LABELS.index(parts[1]))
    return images, labels


def _official(path, split):
    images, labels = [], []
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            if pathlib.Path(member.name).name.startswith("data_batch" if split == "train" else "test_batch"):
                batch = pickle.load(archive.extractfile(member), encoding="bytes")
                images += list(batch[b"data"].reshape(-1, 3, SIDE, SIDE))
                labels += batch[b"labels"]
    return images, labels


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 to what the network takes."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return images.float().div_(255).sub_(mean).div_(std)


def augment(images: torch.Tensor, side: int, photo: float, generator: torch.Generator, cut: float = 0.75) -> torch.Tensor:
    """Random views, side x side. A share `photo` of them is made to vary as photographs do.

    Every picture: mirrored or not, shifted by up to four pixels, and a patch of a share `cut` of them blanked. The share: also
    zoomed out or in, turned, squeezed, blurred or sharpened, and lit differently. Where side is below SIDE, half of them are cut
    to it and half are scaled: cut ones show things as large as the network will see them, scaled ones show them whole.
    """
    n, device = len(images), images.device

    def uniform(low, high, *shape):
        return torch.rand(n, *shape, generator=generator).mul_(high - low).add_(low).to(device)

    chosen = (uniform(0, 1) < photo).float()
    x = normalise(images)

    # Where each output pixel comes from; above 1 is zooming out. Whole-pixel shifts alone keep the rest as sharp as it was.
    zoom = torch.where(uniform(0, 1) < 0.5, side / SIDE, 1.0) * (1 + chosen * (torch.exp(uniform(-0.35, 0.4)) - 1))
    squeeze = torch.exp(chosen * uniform(-0.2, 0.2))
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    shift = uniform(-4.5, 4.5, 2).round() * (2 / SIDE)
    theta = torch.zeros(n, 2, 3, device=device)
    angle = chosen * uniform(-0.3, 0.3)
    theta[:, 0, 0] = mirror * zoom * squeeze * torch.cos(angle)
    theta[:, 0, 1] = -mirror * zoom * squeeze * torch.sin(angle)
    theta[:, 1, 0] = zoom / squeeze * torch.sin(angle)
    theta[:, 1, 1] = zoom / squeeze * torch.cos(angle)
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, (n, 3, side, side), align_corners=False)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    kernel = torch.tensor([0.25, 0.5, 0.25], device=device)
    kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    blurred = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    x = torch.lerp(x, blurred, (chosen * uniform(-1.0, 0.8)).view(-1, 1, 1, 1))

    amount = chosen.view(-1, 1, 1, 1)
    grey = x.mean(1, keepdim=True)
    x = torch.lerp(x, grey, amount * uniform(-0.3, 0.4, 1, 1, 1))
    x = x * (1 + amount * uniform(-0.3, 0.3, 1, 1, 1)) + amount * uniform(-0.3, 0.3, 1, 1, 1) + amount * uniform(-0.08, 0.08, 3, 1, 1)

    size = side * 3 // 8
    blanked = (uniform(0, 1) < cut).view(-1, 1, 1, 1)
    patch = blanked & _patches(side, size, *(uniform(0, side - size).long() for _ in range(2)))
    return x.masked_fill(patch, 0).contiguous(memory_format=torch.channels_last)


def _patches(side: int, size, top: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
    """Where the squares are, one a picture; `size` is theirs together or one's each."""
    end_row, end_column = ((start + size).view(-1, 1, 1, 1) for start in (top, left))
    top, left = top.view(-1, 1, 1, 1), left.view(-1, 1, 1, 1)
    rows, columns = torch.arange(side, device=top.device).view(1, 1, -1, 1), torch.arange(side, device=top.device).view(1, 1, 1, -1)
    return (rows >= top) & (rows < end_row) & (columns >= left) & (columns < end_column)


def mix(images: torch.Tensor, share: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """CutMix: a patch of a `share` of the views comes from the view before it in the batch. The views, and how much of each is the other's.

    Less than half of it is, so the label of its own stays the first one. See https://arxiv.org/abs/1905.04899.
    """
    n, side, device = len(images), images.shape[-1], images.device

    def uniform(low, high):
        return torch.rand(n, generator=generator).mul_(high - low).add_(low).to(device)

    size = (uniform(0.3, 0.7) * side).round() * (uniform(0, 1) < share)
    patch = _patches(side, size, *((uniform(0, 1) * (side - size + 1)).floor() for _ in range(2)))
    mixed = torch.where(patch, images.roll(1, 0), images)
    return mixed.contiguous(memory_format=torch.channels_last), (size / side) ** 2
