"""Top-1 of an exported model under ONNX Runtime, prepared as its .toml says: Pillow's antialiased resize, centre crop.

    python evaluate.py                         # CIFAR-10's test images
    python evaluate.py --photos FOLDER         # photographs; FOLDER/<label>/*.jpg, or names with an ImageNet class in them
"""

import argparse
import io
import pathlib
import tomllib
import zipfile

import numpy
import onnxruntime
from PIL import Image, ImageOps

# ImageNet class names, as in `n02113023_Pembroke.jpg`, that are plainly one of CIFAR-10's classes.
IMAGENET = {
    "hen": "bird", "hornbill": "bird", "white_stork": "bird", "pelican": "bird", "basset": "dog", "Weimaraner": "dog", "Boston_bull": "dog",
    "English_setter": "dog", "Old_English_sheepdog": "dog", "Great_Dane": "dog", "Pembroke": "dog", "catamaran": "ship", "garbage_truck": "truck",
    # Less plainly: a military truck on tracks, a small bus (CIFAR-10 has none), and a horse with a cart behind it.
    "half_track": "truck", "minibus": "automobile", "horse_cart": "horse",
}  # fmt: skip
FILTERS = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Classifier:
    def __init__(self, model: pathlib.Path):
        self.labels = model.with_suffix(".labels.txt").read_text().splitlines()
        self.prepare = tomllib.loads(model.with_suffix(".toml").read_text())["preprocess"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def tensor(self, file) -> numpy.ndarray:
        picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
        short, crop = self.prepare["resize"], self.prepare["crop"]
        width, height = picture.size
        if self.prepare.get("aspect", "keep") == "stretch":
            size = (short, short)
        else:
            size = (short, short * height // width) if width <= height else (short * width // height, short)
        if size != picture.size:
            picture = picture.resize(size, FILTERS[self.prepare["interpolation"]])
        left, top = (round((side - crop) / 2) for side in size)
        pixels = numpy.asarray(picture.crop((left, top, left + crop, top + crop)), numpy.float32) / 255
        pixels = (pixels - numpy.float32(self.prepare["mean"])) / numpy.float32(self.prepare["std"])
        return pixels.transpose(2, 0, 1)[None]

    def probabilities(self, file) -> numpy.ndarray:
        logits = self.session.run(["logits"], {"input": self.tensor(file)})[0][0]
        odds = numpy.exp(logits - logits.max())
        return odds / odds.sum()


def cifar(path: pathlib.Path):
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith("test/") and not name.endswith("/"):
                yield name, name.split("/")[1], io.BytesIO(archive.read(name))


def photographs(folder: pathlib.Path, labels):
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            label = path.parent.name if path.parent.name in labels else IMAGENET.get(path.stem.partition("_")[2])
            if label:
                yield path.name, label, path


if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=here.parent / "default.onnx", help="its labels and .toml lie beside it")
    parser.add_argument("--data", type=pathlib.Path, default=here / "../../../shared/data/cifar10-jpg.zip")
    parser.add_argument("--photos", type=pathlib.Path)
    options = parser.parse_args()
    classifier = Classifier(options.model)
    right, total = dict.fromkeys(classifier.labels, 0), dict.fromkeys(classifier.labels, 0)
    for name, label, file in photographs(options.photos, classifier.labels) if options.photos else cifar(options.data):
        odds = classifier.probabilities(file)
        answer = classifier.labels[int(odds.argmax())]
        total[label] += 1
        right[label] += answer == label
        if options.photos:
            print(f"{'right' if answer == label else 'WRONG':5}  {name}: {answer} {odds.max():.2f}" + ("" if answer == label else f", is {label}"))
    for label in classifier.labels:
        if total[label]:
            print(f"{label:10} {right[label]} of {total[label]}")
    print(f"top-1 {100 * sum(right.values()) / max(1, sum(total.values())):.2f} %, {sum(right.values())} of {sum(total.values())}")
