"""Triton's own HTTP client against a running Pinhole: what it asks, what it gets, what it is refused.

    python triton.py ADDRESS PICTURE EXPECTED [TENSOR LOGITS]

EXPECTED is Pinhole's own answer to the picture with every class, as JSON from /predict. TENSOR and LOGITS are NumPy
files: an input of the model, and what another engine says of it. Ends with 0 when everything was as it should be.
"""

import base64
import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def main(address, picture, expected, tensor=None, logits=None):
    client = triton.InferenceServerClient(url=address, network_timeout=60, connection_timeout=60)
    with open(picture, "rb") as file:
        picture = file.read()
    with open(expected, encoding="utf-8") as file:
        expected = json.load(file)
    name, version = expected["model"]["name"], expected["model"]["version"]
    best = expected["predictions"]
    probabilities = np.zeros(len(best), np.float32)
    for prediction in best:
        probabilities[prediction["class_id"]] = prediction["probability"]
    labels = {prediction["class_id"]: prediction["label"] for prediction in best}

    model = metadata(client, name, version, classes=len(best))
    images(client, model, picture, probabilities)
    classification(client, model, picture, best, labels)
    tensors(client, model, picture, tensor, logits)
    at_the_same_time(client, model, picture, probabilities)
    errors(client, model, picture)
    tools(client, model, classes=len(best))
    print("tritonclient is content")


def metadata(client, name, version, classes):
    assert client.is_server_live()
    assert client.is_server_ready()
    server = client.get_server_metadata()
    assert server["name"] == "pinhole", server
    assert set(server["extensions"]) == {
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "statistics",
    }, server
    assert client.is_model_ready(name)
    assert client.is_model_ready(name, version)
    assert not client.is_model_ready(name, "no-such-version")
    assert not client.is_model_ready("no-such-model")
    model = client.get_model_metadata(name, version)
    assert model == client.get_model_metadata(name)
    assert model["name"] == name and model["versions"] == [version], model
    (tensor,), (output,) = model["inputs"], model["outputs"]
    assert tensor["datatype"] == "FP32" and tensor["shape"][0] == -1 and len(tensor["shape"]) == 4, model
    assert output["name"] == "scores" and output["datatype"] == "FP32", model
    assert output["shape"] == [-1, classes], model
    return model


def encoded(model, pictures, binary, shape=None):
    """The pictures as one input. In JSON they are base64, as bytes that are not text have no other form there."""
    data = np.array(pictures if binary else [base64.b64encode(picture) for picture in pictures], dtype=np.object_)
    shape = shape or [len(pictures)]
    tensor = triton.InferInput(model["inputs"][0]["name"], shape, "BYTES")
    tensor.set_data_from_numpy(data.reshape(shape), binary_data=binary)
    return [tensor]


def wanted(binary, classes=0):
    return [triton.InferRequestedOutput("scores", binary_data=binary, class_count=classes)]


def images(client, model, picture, probabilities):
    name = model["name"]
    for binary_in in (True, False):
        for outputs in (None, wanted(True), wanted(False)):
            answer = client.infer(name, encoded(model, [picture], binary_in), outputs=outputs, request_id="n-7")
            response = answer.get_response()
            assert response["id"] == "n-7", response
            assert response["model_name"] == name and response["model_version"] == model["versions"][0], response
            scores = answer.as_numpy("scores")
            assert scores.shape == (1, len(probabilities)) and scores.dtype == np.float32, scores
            assert np.allclose(scores[0], probabilities, atol=1e-6), (scores, probabilities)
            assert answer.get_output("scores")["parameters"]["content"] == "probabilities"
    # Several at once, with a version, and in the shape of clients that always have a batch's dimension.
    answer = client.infer(
        name, encoded(model, [picture] * 3, True, [3, 1]), model_version=model["versions"][0], request_id=""
    )
    assert answer.as_numpy("scores").shape == (3, len(probabilities))
    assert np.allclose(answer.as_numpy("scores"), probabilities, atol=1e-6)
    assert "id" not in answer.get_response()
    # Compressed answers are decompressed by the client.
    answer = client.infer(
        name, encoded(model, [picture] * 30, True), outputs=wanted(False), response_compression_algorithm="gzip"
    )
    assert np.allclose(answer.as_numpy("scores"), probabilities, atol=1e-6)


def classification(client, model, picture, best, labels):
    for binary in (True, False):
        answer = client.infer(model["name"], encoded(model, [picture] * 2, True), outputs=wanted(binary, 3))
        rows = answer.as_numpy("scores")
        assert rows.shape == (2, 3), rows
        for row in rows:
            for cell, prediction in zip(row, best):
                text = cell.decode() if isinstance(cell, bytes) else cell
                value, index, label = text.split(":", 2)
                assert int(index) == prediction["class_id"], (text, prediction)
                assert label == labels[int(index)], (text, prediction)
                assert abs(float(value) - prediction["probability"]) < 1e-5, (text, prediction)
    answer = client.infer(model["name"], encoded(model, [picture], True), outputs=wanted(True, 100_000))
    assert answer.as_numpy("scores").shape == (1, len(labels))


def tensors(client, model, picture, tensor, logits):
    shape = [1] + model["inputs"][0]["shape"][1:]
    if tensor is not None:
        value, expected = np.load(tensor).reshape(shape), np.load(logits).reshape(-1)
    else:
        value, expected = np.random.default_rng(7).standard_normal(shape, dtype=np.float32), None
    seen = []
    for binary in (True, False):
        given = triton.InferInput(model["inputs"][0]["name"], shape, "FP32")
        given.set_data_from_numpy(value.astype(np.float32), binary_data=binary)
        answer = client.infer(model["name"], [given], outputs=wanted(binary))
        assert answer.get_output("scores")["parameters"]["content"] == "model-output"
        seen.append(answer.as_numpy("scores")[0])
        labelled = client.infer(model["name"], [given], outputs=wanted(binary, 1)).as_numpy("scores")
        text = labelled[0][0].decode() if isinstance(labelled[0][0], bytes) else labelled[0][0]
        assert int(text.split(":")[1]) == int(seen[-1].argmax()), (text, seen[-1])
    assert np.array_equal(*seen), "binary and JSON differ"
    if expected is not None:
        worst = np.abs(seen[0] - expected).max()
        print(f"logits are within {worst:.6f}")
        assert worst < 1e-3, worst
    two = np.concatenate([value, -value]).astype(np.float32)
    given = triton.InferInput(model["inputs"][0]["name"], list(two.shape), "FP32")
    given.set_data_from_numpy(two)
    rows = client.infer(model["name"], [given]).as_numpy("scores")
    assert np.array_equal(rows[0], seen[0]) and not np.array_equal(rows[1], seen[0])


def numbers(model, value, binary):
    shape = [1] + model["inputs"][0]["shape"][1:]
    tensor = triton.InferInput(model["inputs"][0]["name"], shape, "FP32")
    tensor.set_data_from_numpy(np.full(shape, value, np.float32), binary_data=binary)
    return [tensor]


def at_the_same_time(client, model, picture, probabilities):
    asked = [client.async_infer(model["name"], encoded(model, [picture], True)) for _ in range(4)]
    for answer in asked:
        assert np.allclose(answer.get_result().as_numpy("scores")[0], probabilities, atol=1e-6)


def tools(client, model, classes):
    """What Triton's tools ask before they infer, and after."""
    name, (version,) = model["name"], model["versions"]
    config = client.get_model_config(name)
    assert config == client.get_model_config(name, version)
    (tensor,), (output,) = config["input"], config["output"]
    assert config["name"] == name and config["max_batch_size"] == model["parameters"]["max_batch"], config
    assert tensor["name"] == model["inputs"][0]["name"] and tensor["data_type"] == "TYPE_FP32", config
    assert tensor["dims"] == model["inputs"][0]["shape"][1:] and tensor["format"] == "FORMAT_NCHW", config
    assert output["name"] == "scores" and output["dims"] == [classes], config
    assert client.get_model_repository_index() == [
        {"name": name, "version": version, "state": "READY", "reason": ""}
    ]
    before = client.get_inference_statistics()
    assert before == client.get_inference_statistics(name) == client.get_inference_statistics(name, version)
    client.infer(name, numbers(model, 0.5, True))
    try:
        client.infer(name, encoded(model, [b"no picture at all"], True))
    except InferenceServerException:
        pass
    (before,), (after,) = before["model_stats"], client.get_inference_statistics()["model_stats"]
    assert after["name"] == name and after["version"] == version, after
    assert after["inference_count"] == before["inference_count"] + 1 > 40, (before, after)
    assert after["last_inference"] >= before["last_inference"] > 0, (before, after)
    steps = after["inference_stats"]
    assert steps["fail"]["count"] == before["inference_stats"]["fail"]["count"] + 1, (before, after)
    assert steps["success"]["count"] == after["inference_count"] == after["execution_count"], after
    parts = [steps[part]["ns"] for part in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert sum(parts) == steps["success"]["ns"] > 0 and steps["compute_infer"]["ns"] > 0, after


def errors(client, model, picture):
    name = model["name"]
    good = encoded(model, [picture], True)
    other = triton.InferInput("no-such-input", [1], "BYTES")
    other.set_data_from_numpy(np.array([picture], dtype=np.object_))
    small = triton.InferInput(model["inputs"][0]["name"], [1, 3, 2, 2], "FP32")
    small.set_data_from_numpy(np.zeros([1, 3, 2, 2], np.float32))
    for status, words, ask in [
        ("404", "no-such-model", lambda: client.infer("no-such-model", good)),
        ("404", "no-such-version", lambda: client.infer(name, good, model_version="no-such-version")),
        ("404", "no-such-model", lambda: client.get_model_metadata("no-such-model")),
        ("400", "no-such-input", lambda: client.infer(name, [other])),
        ("400", "[n, ", lambda: client.infer(name, [small])),
        ("400", "no-such-output", lambda: client.infer(name, good, outputs=[triton.InferRequestedOutput("no-such-output")])),
        ("415", "not", lambda: client.infer(name, encoded(model, [b"no picture at all"], True))),
        ("422", "Image 2 of 2", lambda: client.infer(name, encoded(model, [picture, picture[:-40]], True))),
        ("415", "Content-Encoding", lambda: client.infer(name, good, request_compression_algorithm="gzip")),
        ("400", "finite", lambda: client.infer(name, numbers(model, np.nan, True))),
        ("400", "finite", lambda: client.infer(name, numbers(model, np.nan, False))),
        ("400", "finite", lambda: client.infer(name, numbers(model, -np.inf, True))),
        ("400", "finite", lambda: client.infer(name, numbers(model, -np.inf, False))),
        ("400", "1024", lambda: client.infer(name, good, request_id="x" * 1025)),
        ("501", "part of the service", lambda: client.load_model(name)),
        ("501", "part of the service", lambda: client.unload_model(name)),
        ("404", "no-such-model", lambda: client.load_model("no-such-model")),
        ("404", "no-such-model", lambda: client.get_model_config("no-such-model")),
        ("404", "no-such-version", lambda: client.get_inference_statistics(name, "no-such-version")),
    ]:
        try:
            ask()
        except InferenceServerException as error:
            assert error.status() == status, error
            assert words in error.message(), error
        else:
            raise AssertionError(f"{words}: this was answered")
    assert client.infer(name, good) is not None


if __name__ == "__main__":
    main(*sys.argv[1:])
