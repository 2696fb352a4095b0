"""Writes trained weights as an ONNX file, and checks that ONNX Runtime agrees with PyTorch on it."""

import argparse
import pathlib

import numpy
import onnx
import onnxruntime
import torch

from data import MEAN, STD
from model import MobileNetV2

OPSET = 17


def folded(model: MobileNetV2) -> MobileNetV2:
    """Batch normalisation is affine once trained, so each one disappears into the convolution before it."""
    model = model.eval()
    for module in list(model.modules()):
        if isinstance(module, torch.nn.Sequential) and len(module) > 1 and isinstance(module[1], torch.nn.BatchNorm2d):
            module[0] = torch.nn.utils.fuse_conv_bn_eval(module[0], module[1])
            module[1] = torch.nn.Identity()
    return model


def export(model: MobileNetV2, side: int, path: pathlib.Path, symbolic: bool) -> None:
    reference, model = model.eval(), folded(model)
    example = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    axes = {"input": {0: "N"}, "logits": {0: "N"}} if symbolic else None
    # The tracing exporter writes plain Conv, Clip, Add, pool and Gemm, and needs no package beyond onnx.
    torch.onnx.export(model, (example,), str(path), input_names=["input"], output_names=["logits"],
                      opset_version=OPSET, dynamic_axes=axes, dynamo=False)
    onnx.checker.check_model(onnx.load(str(path)), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = model(example).numpy()
    worst = numpy.abs(session.run(["logits"], {"input": example.numpy()})[0] - expected).max()
    if worst > 1e-3:
        raise SystemExit(f"ONNX Runtime and PyTorch differ by {worst}: do not ship {path}")
    operators = sorted({node.op_type for node in onnx.load(str(path)).graph.node})
    print(f"{path}: {path.stat().st_size} bytes, operators {' '.join(operators)}, differs from PyTorch by {worst:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=pathlib.Path, help="what train.py wrote; without it, seeded random weights")
    parser.add_argument("--architecture", default="small32", help="only without --checkpoint")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "default.onnx")
    parser.add_argument("--symbolic-batch", action="store_true", help="first dimension N instead of 1")
    options = parser.parse_args()
    if options.checkpoint:
        saved = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
        network = MobileNetV2(saved["architecture"])
        network.load_state_dict(saved["weights"])
    else:
        torch.manual_seed(0)
        network = MobileNetV2(options.architecture)
    export(network, 32, options.out, options.symbolic_batch)
