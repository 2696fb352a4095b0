"""The same small network as tools other than PyTorch's exporter write it, for zoo.py."""

import numpy
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper


def small(num_classes: int) -> torch.nn.Module:
    """Convolutions with batch normalisation and ReLU6, an average and a dense layer."""
    layers, before = [], 3
    for channels in (32, 64, 128, 256):
        layers += [torch.nn.Conv2d(before, channels, 3, 2, 1, bias=False), torch.nn.BatchNorm2d(channels), torch.nn.ReLU6()]
        before = channels
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(before, num_classes))


class Rewriter:
    """Goes through a graph and puts other nodes in the place of some."""

    def __init__(self, model: onnx.ModelProto):
        self.graph = model.graph
        self.nodes = []
        self.stored = {tensor.name: tensor for tensor in model.graph.initializer}

    def constant(self, name: str, values) -> str:
        self.stored[name] = numpy_helper.from_array(numpy.asarray(values), name)
        return name

    def node(self, operator: str, inputs: list, output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"{operator}_{output}", **attributes))
        return output

    def done(self) -> None:
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        self.graph.initializer.extend(tensor for name, tensor in self.stored.items() if name in used)

    def limited(self, node: onnx.NodeProto, relu: bool) -> None:
        """ReLU6 without Clip."""
        name, (output,) = node.input[0], node.output
        if relu:
            low = self.node("Relu", [name], f"{output}_low")
            self.node("Min", [self.constant(f"{output}_six", numpy.float32(6)), low], output)
        else:
            low = self.node("Max", [name, self.constant(f"{output}_zero", numpy.float32(0))], f"{output}_low")
            self.node("Min", [low, self.constant(f"{output}_six", numpy.float32(6))], output)

    def conv(self, node: onnx.NodeProto, name: str, output: str, **attributes) -> None:
        kept = {one.name: helper.get_attribute_value(one) for one in node.attribute if one.name not in ("pads", "auto_pad")}
        self.node("Conv", [name, *node.input[1:]], output, **kept | attributes)


def as_keras(model: onnx.ModelProto) -> None:
    """Channels last, padding and batch normalisation as nodes of their own, a softmax spelled out."""
    rewriter = Rewriter(model)
    image, scores = model.graph.input[0], model.graph.output[0]
    _, channels, height, width = (size.dim_value for size in image.type.tensor_type.shape.dim)
    for place, size in zip(image.type.tensor_type.shape.dim, (1, height, width, channels)):
        place.dim_value = size
    turned = rewriter.node("Transpose", [image.name], "turned", perm=[0, 3, 1, 2])
    for node in list(model.graph.node):
        name = turned if node.input and node.input[0] == image.name else (node.input or [""])[0]
        output = node.output[0]
        if node.op_type == "Conv":
            pads = rewriter.constant(f"{output}_pads", numpy.int64([0, 0, 1, 1, 0, 0, 1, 1]))
            padded = rewriter.node("Pad", [name, pads], f"{output}_padded")
            weights, bias = (numpy_helper.to_array(rewriter.stored[one]) for one in node.input[1:3])
            scale = numpy.linspace(0.5, 2, len(bias), dtype=numpy.float32)
            rewriter.constant(node.input[1], weights / scale.reshape(-1, 1, 1, 1))
            rewriter.constant(node.input[2], bias * 0 + 0.25)
            rewriter.conv(node, padded, f"{output}_conv")
            factors = rewriter.constant(f"{output}_scale", scale.reshape(1, -1, 1, 1))
            scaled = rewriter.node("Mul", [f"{output}_conv", factors], f"{output}_scaled")
            terms = rewriter.constant(f"{output}_shift", (bias - 0.25 * scale).reshape(1, -1, 1, 1))
            rewriter.node("Add", [scaled, terms], output)
        elif node.op_type == "Clip":
            rewriter.limited(node, relu=False)
        elif output == scores.name:
            node.output[0] = "logits"
            rewriter.nodes.append(node)
        else:
            rewriter.nodes.append(node)
    largest = rewriter.node("ReduceMax", ["logits"], "largest", axes=[1], keepdims=1)
    powers = rewriter.node("Exp", [rewriter.node("Sub", ["logits", largest], "less")], "powers")
    total = rewriter.node("ReduceSum", [powers, rewriter.constant("classes", numpy.int64([1]))], "total", keepdims=1)
    rewriter.node("Div", [powers, total], scores.name)
    rewriter.done()


def of_bytes(model: onnx.ModelProto, mean: tuple, std: tuple) -> None:
    """Pixels as they are: the graph normalises them, and TensorFlow's padding is left to whoever runs it."""
    rewriter = Rewriter(model)
    image = model.graph.input[0]
    _, channels, height, width = (size.dim_value for size in image.type.tensor_type.shape.dim)
    for place, size in zip(image.type.tensor_type.shape.dim, (1, height, width, channels)):
        place.dim_value = size
    image.type.tensor_type.elem_type = TensorProto.UINT8
    name = rewriter.node("Cast", [image.name], "floats", to=TensorProto.FLOAT)
    name = rewriter.node("Div", [name, rewriter.constant("levels", numpy.float32(255))], "parts")
    name = rewriter.node("Sub", [name, rewriter.constant("mean", numpy.float32(mean))], "centred")
    name = rewriter.node("Div", [name, rewriter.constant("std", numpy.float32(std))], "normalised")
    first = rewriter.node("Transpose", [name], "turned", perm=[0, 3, 1, 2])
    for node in list(model.graph.node):
        if node.op_type == "Conv":
            name = first if node.input[0] == image.name else node.input[0]
            rewriter.conv(node, name, node.output[0], auto_pad="SAME_LOWER")
        elif node.op_type == "Clip":
            rewriter.limited(node, relu=True)
        else:
            rewriter.nodes.append(node)
    rewriter.done()
