"""The service that Pinhole is measured against: FastAPI and ONNX Runtime, as a team would write it.

    MODEL=model.onnx LABELS=labels.txt uvicorn app:app

ORT_THREADS is ONNX Runtime's threads for one inference; where it is not set, ONNX Runtime takes every core.
"""
import os

from classifier import Classifier
from fastapi import FastAPI, HTTPException, UploadFile
from PIL import UnidentifiedImageError

app = FastAPI(title="FastAPI and ONNX Runtime")
classifier = Classifier(os.environ["MODEL"], os.environ["LABELS"], int(os.environ.get("ORT_THREADS", "0")))


@app.get("/health")
def health() -> dict:
    return {"status": "ok"}


# Not `async`: FastAPI then runs it on a thread of its pool, so that requests are worked on side by side.
@app.post("/predict")
def predict(image: UploadFile) -> dict:
    try:
        return {"predictions": classifier.classify(image.file.read())}
    except UnidentifiedImageError as error:
        raise HTTPException(415, "This is not an image.") from error
