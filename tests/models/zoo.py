"""Writes ONNX files that baking must cope with, and what ONNX Runtime answers on photographs.

    python zoo.py --images ../../../shared/images --out FOLDER resnet18-11-static-96 mobilenetv2=../mobilenetv2.onnx

A name is an architecture of torchvision's, an opset, a static or symbolic batch, and the side of the input: FOLDER gets
NAME.onnx. `NAME=FILE` takes a file that is there, prepared as the .toml beside it says; `NAME=quantised:FILE` and
`NAME=symmetric:FILE` have ONNX Runtime quantise it first, into NAME.onnx. FOLDER gets NAME.json for each. With --crops,
FOLDER/NAME gets what the model sees of each picture as a PNG file, and NAME.json is about those: no decoder and no resizing
comes between them and the model.
"""

import argparse
import functools
import io
import json
import logging
import pathlib
import tomllib
import warnings

import numpy
import onnx
import onnxruntime
import torch
from onnxruntime import quantization
from PIL import Image, ImageOps
from torchvision import models

import spellings

ARCHITECTURES = {
    "squeezenet1_1": models.squeezenet1_1,
    "resnet18": models.resnet18,
    "efficientnet_b0": models.efficientnet_b0,
    "mobilenet_v3_small": models.mobilenet_v3_small,
    "shufflenet_v2_x0_5": models.shufflenet_v2_x0_5,
    "regnet_y_400mf": models.regnet_y_400mf,
    "densenet121": models.densenet121,
    "googlenet": functools.partial(models.googlenet, aux_logits=False, init_weights=False),
    "mnasnet0_5": models.mnasnet0_5,
    "keras": spellings.small,
    "bytes": spellings.small,
    # Of their kind, but small enough for a test; the first takes pictures of 96 pixels only.
    "vit": functools.partial(models.VisionTransformer, image_size=96, patch_size=16, num_layers=3, num_heads=3, hidden_dim=192,
                             mlp_dim=384),
    "convnext": functools.partial(models.ConvNeXt, [models.convnext.CNBlockConfig(48, 96, 2), models.convnext.CNBlockConfig(96, 192, 2),
                                                    models.convnext.CNBlockConfig(192, None, 2)]),
}
CLASSES = 1000
# What bake takes for granted, and torchvision's classifiers expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def cropped(file: pathlib.Path, resize: int, crop: int, aspect="keep") -> Image.Image:
    """As in models/train/evaluate.py: Pillow's antialiased bilinear resize of the shorter side, or of both, then the centre."""
    picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    width, height = picture.size
    if aspect == "stretch":
        size = (resize, resize)
    else:
        size = (resize, resize * height // width) if width <= height else (resize * width // height, resize)
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((side - crop) / 2) for side in size)
    return picture.crop((left, top, left + crop, top + crop))


def prepared(file: pathlib.Path, resize: int, crop: int, aspect="keep", mean=MEAN, std=STD) -> numpy.ndarray:
    pixels = numpy.asarray(cropped(file, resize, crop, aspect), numpy.float32) / 255
    return ((pixels - numpy.float32(mean)) / numpy.float32(std)).transpose(2, 0, 1)[None]


def shifted(pixels, kind: str, random: numpy.random.Generator, std=STD) -> numpy.ndarray:
    """The same picture as another JPEG decoder gives it: up to half a level off, in each pixel (grain), or in a whole picture's
    two colour differences (cast), as where these are stored at half the resolution and halves are rounded in another way."""
    if kind == "grain":
        levels = random.uniform(-0.5, 0.5, pixels.shape)
    else:
        blue, red = random.uniform(-0.5, 0.5, (2, len(pixels)))
        # As JFIF has RGB made of them.
        levels = numpy.stack([1.402 * red, -0.344 * blue - 0.714 * red, 1.772 * blue], 1)[:, :, None, None]
    return pixels + (levels / 255 / numpy.reshape(std, (1, 3, 1, 1))).astype(numpy.float32)


def enliven(model: torch.nn.Module, pictures: numpy.ndarray) -> torch.nn.Module:
    """Makes a network of random weights tell pictures apart, as a trained one does, and not for a grain of noise.

    Filters blur rather than cut, and most activations are let through: independent weights would double every rounding
    error from layer to layer. Each layer is scaled to what it sees, so that nothing explodes or fades on the way. The last
    one is fitted: each picture has a class of its own, however it was decoded.
    """
    model.eval()
    generator = torch.Generator().manual_seed(1)
    noise = lambda like, low, high: torch.empty_like(like).uniform_(low, high, generator=generator)
    layers = [layer for layer in model.modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))]
    last = layers.pop()
    normalised = any(isinstance(layer, (torch.nn.BatchNorm2d, torch.nn.LayerNorm)) for layer in model.modules())

    def scaled(layer, _, output):
        mean, deviation = output.mean((0, 2, 3)), output.std((0, 2, 3)) + 1e-6
        shift = noise(mean, 0.3, 0.9)
        layer.weight /= deviation.view(-1, 1, 1, 1)
        layer.bias.copy_((layer.bias - mean) / deviation + shift)
        return (output - mean.view(1, -1, 1, 1)) / deviation.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)

    with torch.no_grad():
        hooks = []
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.weight.copy_(noise(layer.weight, 0.7, 1.3))
                layer.bias.copy_(noise(layer.bias, 0.3, 0.9))
                # The running values become those of the one batch that follows.
                layer.momentum = None
                layer.train()
            if isinstance(layer, torch.nn.LayerNorm):
                layer.weight.copy_(noise(layer.weight, 0.7, 1.3))
                layer.bias.copy_(noise(layer.bias, -0.3, 0.3))
            if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size != (1, 1):
                layer.weight.copy_(layer.weight.mean((2, 3), keepdim=True) * noise(layer.weight, 0.5, 1.5))
            if layer in layers and not normalised:
                hooks.append(layer.register_forward_hook(scaled))
        for name, parameter in model.named_parameters():
            # What training begins with is next to nothing.
            if name.endswith(("layer_scale", "class_token")):
                parameter.copy_(noise(parameter, 0.2, 0.6))
        model(torch.from_numpy(pictures))
        for hook in hooks:
            hook.remove()
        model.eval()
        fit(model, last, pictures)
    return model


def fit(model: torch.nn.Module, last: torch.nn.Module, pictures: numpy.ndarray) -> None:
    """Fits the last layer by least squares on the pictures and on their shifted copies."""
    seen = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(2).mean(2) if inputs[0].dim() == 4 else inputs[0]))
    random = numpy.random.default_rng(1)
    kinds = ["cast"] * 6 + ["grain"] * 4
    for copy in [pictures] + [shifted(pictures, kind, random) for kind in kinds]:
        model(torch.from_numpy(copy))
    hook.remove()
    features = torch.cat(seen).double()
    mean = features.mean(0)
    features -= mean
    targets = 0.1 * torch.randn(len(pictures), CLASSES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    # Far apart, so that an answer that is off by one shows.
    targets[range(len(pictures)), [picture * 16 for picture in range(len(pictures))]] = 1
    targets = targets.repeat(len(kinds) + 1, 1)
    square = features.T @ features
    square += torch.eye(len(square)) * square.trace() / len(square) * 1e-5
    weights = torch.linalg.solve(square, features.T @ targets).T
    low, high = 0.0, 100.0
    while high - low > 0.001:
        middle = (low + high) / 2
        sure = torch.softmax(features[: len(pictures)] @ weights.T * middle, 1).amax(1).mean() > 0.6
        low, high = (low, middle) if sure else (middle, high)
    last.weight.copy_((weights * low).reshape(last.weight.shape))
    # SqueezeNet has a ReLU behind its last layer: ten is enough to stay clear of it, and changes no probability.
    last.bias.copy_(10 - weights @ mean * low)


@functools.cache
def network(architecture: str, side: int, images: tuple) -> torch.nn.Module:
    torch.manual_seed(0)
    model = ARCHITECTURES[architecture](num_classes=CLASSES)
    pictures = numpy.concatenate([prepared(image, -(-side * 8 // 7), side) for image in images])
    return enliven(model, pictures)


def export(name: str, images: tuple, path: pathlib.Path) -> int:
    """Writes a file as torchvision's users do, and returns the side of its input."""
    architecture, opset, batch, side = name.split("-")
    if batch not in ("static", "symbolic"):
        raise SystemExit(f"{name}: the batch is `static` or `symbolic`.")
    model, side = network(architecture, int(side), images), int(side)
    axes = {"input": {0: "batch"}, "output": {0: "batch"}} if batch == "symbolic" else None
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # That this exporter is the older one is the reason to use it: it is what most files in use were made with.
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 3, side, side),), buffer, input_names=["input"], output_names=["output"],
                          opset_version=int(opset), dynamic_axes=axes, dynamo=False)
    file = onnx.load_from_string(buffer.getvalue())
    if architecture == "keras":
        spellings.as_keras(file)
    if architecture == "bytes":
        spellings.of_bytes(file, MEAN, STD)
    onnx.checker.check_model(file, full_check=True)
    if [version.version for version in file.opset_import if version.domain == ""] != [int(opset)]:
        raise SystemExit(f"{name}: the exporter wrote another opset.")
    path.write_bytes(file.SerializeToString())
    return side


def session(path: pathlib.Path, optimised: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Only errors: it warns of every unused constant.
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def probabilities(session: onnxruntime.InferenceSession, tensor: numpy.ndarray) -> numpy.ndarray:
    image = session.get_inputs()[0]
    if image.type == "tensor(uint8)":
        levels = (tensor * numpy.reshape(numpy.float32(STD), (1, 3, 1, 1)) + numpy.reshape(numpy.float32(MEAN), (1, 3, 1, 1))) * 255
        tensor = levels.round().clip(0, 255).astype(numpy.uint8)
    if image.shape[-1] == 3:
        tensor = tensor.transpose(0, 2, 3, 1)
    scores = session.run(None, {image.name: tensor})[0].reshape(-1).astype(numpy.float64)
    if scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
        return scores
    odds = numpy.exp(scores - scores.max())
    return odds / odds.sum()


def quantise(model: pathlib.Path, images: tuple, prepare: dict, path: pathlib.Path, symmetric: bool) -> None:
    """As ONNX Runtime's users do, with steps of its own for each output channel. Weights are unsigned: products of signed
    ones overflow in ONNX Runtime where a processor has no VNNI. With symmetric ranges, steps cannot stand for a ReLU6: it stays
    in the graph, between two roundings."""
    tensors = iter([{onnx.load(model).graph.input[0].name: prepared(image, **prepare)} for image in images])
    reader = type("Reader", (quantization.CalibrationDataReader,), {"get_next": lambda self: next(tensors, None)})()
    logging.getLogger().setLevel(logging.ERROR)
    quantization.quantize_static(model, path, reader, quant_format=quantization.QuantFormat.QDQ, per_channel=True,
                                 activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QUInt8,
                                 extra_options={"ActivationSymmetric": symmetric})


def answers(path: pathlib.Path, images: tuple, prepare: dict) -> list:
    """ONNX Runtime's probabilities, and how far they move by themselves: with its optimisations off, and on pictures that
    another decoder might have given."""
    sessions = session(path, True), session(path, False)
    random = numpy.random.default_rng(0)
    found = []
    for image in images:
        tensor = prepared(image, **prepare)
        best = probabilities(sessions[0], tensor)
        others = [probabilities(sessions[1], tensor)]
        others += [probabilities(sessions[0], shifted(tensor, kind, random, prepare["std"])) for kind in ("cast", "grain") * 3]
        spread = max(numpy.abs(best - other).max() for other in others)
        found.append({"image": str(image.resolve()), "spread": round(spread, 6), "probabilities": [round(p, 7) for p in best.tolist()]})
    return found


def configured(config: pathlib.Path) -> dict:
    """What a bake configuration says of the preparation, and what bake takes for granted where there is none."""
    found = tomllib.loads(config.read_text())["preprocess"] if config.exists() else {}
    if (found.get("interpolation", "bilinear"), found.get("colour", "rgb")) != ("bilinear", "rgb"):
        raise SystemExit(f"{config}: only RGB and bilinear resizing are known here.")
    return {key: found.get(key, default) for key, default in {"resize": 256, "aspect": "keep", "crop": 224, "mean": MEAN, "std": STD}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=pathlib.Path, required=True, help="a folder of .jpg files")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--crops", action="store_true", help="write and judge what the model sees of each picture")
    parser.add_argument("models", nargs="+", metavar="NAME or NAME=FILE")
    options = parser.parse_args()
    torch.set_num_threads(2)
    images = tuple(sorted(options.images.glob("*.jpg")))
    options.out.mkdir(parents=True, exist_ok=True)
    for model in options.models:
        name, _, file = model.partition("=")
        if file:
            how, _, file = file.rpartition(":")
            path = pathlib.Path(file)
            prepare = configured(path.with_suffix(".toml"))
            if how:
                quantise(path, images, prepare, options.out / f"{name}.onnx", how == "symmetric")
                path = options.out / f"{name}.onnx"
        else:
            path = options.out / f"{name}.onnx"
            side = export(name, images, path)
            prepare = {"resize": -(-side * 8 // 7), "crop": side, "mean": MEAN, "std": STD}
        seen = images
        if options.crops:
            sizes = {key: prepare[key] for key in ("resize", "crop", "aspect") if key in prepare}
            seen = tuple(options.out / name / f"{image.stem}.png" for image in images)
            seen[0].parent.mkdir()
            for image, crop in zip(images, seen):
                cropped(image, **sizes).save(crop)
            prepare["resize"] = prepare["crop"]
        found = answers(path, seen, prepare)
        (options.out / f"{name}.json").write_text(json.dumps(found))
        worst, sure = max(one["spread"] for one in found), [max(one["probabilities"]) for one in found]
        classes = len({numpy.argmax(one["probabilities"]) for one in found})
        print(f"{name}: moves by up to {worst:.4f} by itself; {classes} classes, best {min(sure):.2f} to {max(sure):.2f}", flush=True)


if __name__ == "__main__":
    main()
