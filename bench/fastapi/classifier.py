"""What torchvision's ImageNet classifiers do to a picture, with Pillow, NumPy and ONNX Runtime."""
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

RESIZE, CROP = 256, 224
MEAN = np.float32([0.485, 0.456, 0.406])
STD = np.float32([0.229, 0.224, 0.225])


class Classifier:
    """A model in memory. `threads` is ONNX Runtime's threads for one inference; 0 leaves the choice to it."""

    def __init__(self, model: str, labels: str, threads: int = 0):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.labels = Path(labels).read_text(encoding="utf-8").splitlines()

    def classify(self, picture: bytes, top_k: int = 5) -> list[dict]:
        """The likeliest classes, best first."""
        logits = self.infer(prepare(picture))
        powers = np.exp(logits - logits.max())
        probabilities = powers / powers.sum()
        best = np.argsort(-probabilities)[:top_k]
        return [
            {"class_id": int(i), "label": self.labels[i], "probability": float(probabilities[i])} for i in best
        ]

    def infer(self, tensor: np.ndarray) -> np.ndarray:
        """Logits, one a class."""
        return self.session.run(None, {self.input: tensor})[0][0]


def prepare(picture: bytes) -> np.ndarray:
    """Shorter side to 256 (bilinear, antialiased), the centre 224x224, normalised: 1x3x224x224, float32."""
    with Image.open(BytesIO(picture)) as image:
        image = image.convert("RGB")
    scale = RESIZE / min(image.size)
    width, height = (max(RESIZE, int(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - CROP) / 2), round((height - CROP) / 2)
    pixels = np.asarray(image.crop((left, top, left + CROP, top + CROP)), dtype=np.float32)
    normal = (pixels / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(normal.transpose(2, 0, 1))[np.newaxis]
