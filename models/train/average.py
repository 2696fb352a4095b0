"""The average of trained weights: of a network and of one that was trained further from it. Writes a checkpoint for `export.py`."""

import argparse
import pathlib

import torch

import data
import optimiser
from model import network
from start_from import architecture_in, start_from
from train import accuracy, settle


def weights(path: pathlib.Path, images: torch.Tensor, photo: float) -> tuple[str, dict]:
    """Architecture and averaged weights in a checkpoint, or in an exported file: its matrices get the norm that Muon holds, so that they compare."""
    architecture = architecture_in(path, "small32")
    model = network(architecture)
    start_from(model, path, data.augment(images[:: len(images) // 1000], data.SIDE, photo, torch.Generator().manual_seed(1)))
    optimiser.build(model, "muon", 0, 0)[1].hold()
    return architecture, model.state_dict()


def average(states: list[dict]) -> dict:
    # Counters are integers; nothing reads them, so the first one's will do.
    return {name: torch.stack([s[name] for s in states]).mean(0) if first.is_floating_point() else first for name, first in states[0].items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    here = pathlib.Path(__file__).parent
    parser.add_argument("checkpoints", type=pathlib.Path, nargs="+")
    parser.add_argument("--data", type=pathlib.Path, default=here / "../../../shared/data/cifar10-jpg.zip")
    parser.add_argument("--out", type=pathlib.Path, default=here / "runs/average.pt")
    parser.add_argument("--photo", type=float, default=0.4, help="as in training: batch norm statistics are taken anew")
    options = parser.parse_args()

    images = data.load(options.data, "train")[0]
    saved = [weights(path, images, options.photo) for path in options.checkpoints]
    architectures = {architecture for architecture, _ in saved}
    if len(architectures) > 1:
        raise SystemExit(f"these are different networks: {', '.join(sorted(architectures))}")
    architecture = architectures.pop()
    model = network(architecture)
    model.load_state_dict(average([state for _, state in saved]))
    model = model.to(memory_format=torch.channels_last)
    device = torch.device("cpu")
    settle(model, images, options.photo, torch.Generator().manual_seed(1), device)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"architecture": architecture, "weights": model.state_dict()}, options.out)
    print(f"{options.out}: {accuracy(model, *data.load(options.data, 'test'), device):.2%} of the test images, in bfloat16")
