"""A network that starts where another training ended."""

import pathlib

import numpy
import onnx
import torch
from onnx import numpy_helper


def architecture_in(path: pathlib.Path, exported: str) -> str:
    """What a checkpoint says that it is of; an ONNX file does not say, and is taken for `exported`."""
    return torch.load(path, map_location="cpu", weights_only=True)["architecture"] if path.suffix == ".pt" else exported


@torch.no_grad()
def start_from(model: torch.nn.Module, path: pathlib.Path, views: torch.Tensor) -> None:
    """Gives `model` the averaged weights in `path`: a checkpoint, or an ONNX file that `export.py` wrote.

    In the file batch norms were folded into the convolutions before them; here each gets the scale and shift that undo its own
    normalisation of `views`, so that the network computes what the file does: some hundreds, augmented as those that the file's
    statistics are of. With plain pictures, a network that reached 85 % on augmented ones reached 77.
    """
    if path.suffix == ".pt":
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["weights"])
        return
    stored = {tensor.name: torch.from_numpy(numpy.array(numpy_helper.to_array(tensor))) for tensor in onnx.load(str(path)).graph.initializer}
    pairs = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Sequential) and len(module) > 1 and isinstance(module[1], torch.nn.BatchNorm2d):
            module[0].weight.copy_(stored[name + ".0.weight"])
            pairs.append((module[1], stored[name + ".0.bias"]))
    model.classifier.load_state_dict({"weight": stored["classifier.weight"], "bias": stored["classifier.bias"]})

    def undo(bias):
        def before(norm, inputs):
            x = inputs[0].float()
            variance, mean = torch.var_mean(x, dim=(0, 2, 3), unbiased=False)
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.copy_(mean + bias)

        return before

    hooks = [norm.register_forward_pre_hook(undo(bias)) for norm, bias in pairs]
    model.train()
    # Without autocast the plain modules run, and in float32.
    model(views)
    for hook in hooks:
        hook.remove()
