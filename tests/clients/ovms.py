"""OpenVINO Model Server's own client, which speaks TensorFlow Serving's REST, against a running Pinhole.

    python ovms.py ADDRESS PICTURE EXPECTED

EXPECTED is Pinhole's own answer to the picture with every class, as JSON from /predict. Ends with 0 when everything was as it
should be.
"""

import json
import sys

import numpy as np
import ovmsclient


def main(address, picture, expected):
    client = ovmsclient.make_http_client(address)
    with open(picture, "rb") as file:
        picture = file.read()
    with open(expected, encoding="utf-8") as file:
        expected = json.load(file)
    name, version = expected["model"]["name"], int(expected["model"]["version"])
    probabilities = np.zeros(len(expected["predictions"]), np.float32)
    for prediction in expected["predictions"]:
        probabilities[prediction["class_id"]] = prediction["probability"]

    for asked in ({}, {"model_version": version}):
        status = client.get_model_status(name, **asked)
        assert status == {version: {"state": "AVAILABLE", "error_code": 0, "error_message": ""}}, status
        metadata = client.get_model_metadata(name, **asked)
        assert metadata["model_version"] == version, metadata
        ((own, tensor),), ((output, scores),) = metadata["inputs"].items(), metadata["outputs"].items()
        assert tensor["dtype"] == "DT_FLOAT" and tensor["shape"][0] == -1 and len(tensor["shape"]) == 4, metadata
        assert output == "scores" and scores == {"dtype": "DT_FLOAT", "shape": [-1, len(probabilities)]}, metadata
        # One picture, a list of them, and an array.
        one = client.predict({own: picture}, name, **asked)
        assert one.shape == (1, len(probabilities)) and np.allclose(one[0], probabilities, atol=1e-6), one
        for several in ([picture] * 3, np.array([picture] * 3)):
            rows = client.predict({own: several}, name, **asked)
            assert rows.shape == (3, len(probabilities)) and np.allclose(rows, probabilities, atol=1e-6), rows
        numbers = np.random.default_rng(7).standard_normal([2] + tensor["shape"][1:], dtype=np.float32)
        rows = client.predict({own: numbers}, name, **asked)
        assert rows.shape == (2, len(probabilities)) and not np.array_equal(*rows), rows
        assert np.allclose(client.predict({own: numbers.tolist()}, name)[1], rows[1], atol=1e-6)

    last = np.moveaxis(numbers, 1, -1)
    broken = numbers.copy()
    broken[0, 0, 0, 0] = np.nan
    for error, words, ask in [
        (ovmsclient.ModelNotFoundError, "no-such-model", lambda: client.get_model_status("no-such-model")),
        (ovmsclient.ModelNotFoundError, "no-such-model", lambda: client.get_model_metadata("no-such-model")),
        (ovmsclient.ModelNotFoundError, "no-such-model", lambda: client.predict({own: picture}, "no-such-model")),
        (ovmsclient.ModelNotFoundError, "`77`", lambda: client.get_model_status(name, 77)),
        (ovmsclient.ModelNotFoundError, "`77`", lambda: client.predict({own: picture}, name, 77)),
        (ovmsclient.InvalidInputError, "no-such-input", lambda: client.predict({"no-such-input": picture}, name)),
        (ovmsclient.InvalidInputError, "shape", lambda: client.predict({own: last}, name)),
        (ovmsclient.InvalidInputError, "finite", lambda: client.predict({own: broken}, name)),
        (ovmsclient.ModelServerError, "not", lambda: client.predict({own: b"no picture at all"}, name)),
        (ovmsclient.ModelServerError, "Image 2 of 2", lambda: client.predict({own: [picture, picture[:-40]]}, name)),
    ]:
        try:
            ask()
        except error as refused:
            assert words in str(refused), refused
        else:
            raise AssertionError(f"{words}: this was answered")
    print("ovmsclient is content")


if __name__ == "__main__":
    main(*sys.argv[1:])
