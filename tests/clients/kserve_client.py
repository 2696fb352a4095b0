"""KServe's own REST client, in both versions of the protocol, against a running Pinhole.

    python kserve_client.py ADDRESS PICTURE EXPECTED

EXPECTED is Pinhole's own answer to the picture with every class, as JSON from /predict. Ends with 0 when everything was as it
should be. (A script named as the package would be imported instead of it.)
"""

import asyncio
import base64
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


async def main(address, picture, expected):
    with open(picture, "rb") as file:
        picture = file.read()
    with open(expected, encoding="utf-8") as file:
        expected = json.load(file)
    probabilities = np.zeros(len(expected["predictions"]), np.float32)
    for prediction in expected["predictions"]:
        probabilities[prediction["class_id"]] = prediction["probability"]
    for ask in (version_1, version_2):
        await ask(f"http://{address}", expected["model"]["name"], picture, probabilities)
    print("kserve is content")


async def version_1(url, name, picture, probabilities):
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        assert await client.is_server_live(url) is True
        assert await client.is_model_ready(url, name) is True
        await refused(404, "no-such-model", client.is_model_ready(url, "no-such-model"))
        text = base64.b64encode(picture).decode()
        for instance in ({"image_bytes": {"b64": text}}, {"b64": text}, {"input": {"b64": text}}, {"data": text}):
            answer = await client.infer(url, {"instances": [instance] * 2}, model_name=name)
            assert list(answer) == ["predictions"], answer
            rows = np.array(answer["predictions"])
            assert rows.shape == (2, len(probabilities)) and np.allclose(rows, probabilities, atol=1e-6), rows
        await refused(400, "instances", client.infer(url, {}, model_name=name))
        await refused(415, "not", client.infer(url, {"instances": [{"b64": "YWJj"}]}, model_name=name))
        await refused(404, "no-such-model", client.infer(url, {"instances": []}, model_name="no-such-model"))


async def version_2(url, name, picture, probabilities):
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        assert await client.is_server_live(url) is True
        assert await client.is_server_ready(url) is True
        assert await client.is_model_ready(url, name) is True
        assert await client.is_model_ready(url, "no-such-model") is False
        async with httpx.AsyncClient() as plain:
            model = (await plain.get(f"{url}/v2/models/{name}/")).json()
        tensor = model["inputs"][0]
        # What its own server's data model writes: null for all that is not set.
        text = base64.b64encode(picture).decode()
        body = {
            "id": None,
            "parameters": None,
            "inputs": [
                {"name": tensor["name"], "shape": [1], "datatype": "BYTES", "parameters": None, "data": [text]},
            ],
            "outputs": None,
        }
        answer = await client.infer(url, body, model_name=name)
        assert np.allclose(answer.outputs[0].as_numpy()[0], probabilities, atol=1e-6), answer
        for outputs in (None, [RequestedOutput("scores", {"binary_data": True})]):
            for binary in (True, False):
                data = np.array([picture if binary else text.encode()], dtype=np.object_)
                image = InferInput(tensor["name"], [1], "BYTES")
                image.set_data_from_numpy(data, binary_data=binary)
                request = InferRequest(name, [image], request_id="n-7", request_outputs=outputs)
                answer = await client.infer(url, request, model_name=name)
                assert answer.id == "n-7" and answer.model_name == name, answer
                scores = answer.get_output_by_name("scores").as_numpy()
                assert scores.shape == (1, len(probabilities)), scores
                assert np.allclose(scores[0], probabilities, atol=1e-6), scores
        shape = [2] + tensor["shape"][1:]
        numbers = np.random.default_rng(7).standard_normal(shape, dtype=np.float32)
        seen = []
        for binary in (True, False):
            given = InferInput(tensor["name"], shape, "FP32")
            given.set_data_from_numpy(numbers, binary_data=binary)
            answer = await client.infer(url, InferRequest(name, [given]), model_name=name)
            seen.append(answer.outputs[0].as_numpy())
        assert np.array_equal(*seen), "binary and JSON differ"
        await refused(404, "no-such-model", client.infer(url, body, model_name="no-such-model"))
        numbers[0, 0, 0, 0] = np.inf
        given = InferInput(tensor["name"], shape, "FP32")
        given.set_data_from_numpy(numbers, binary_data=True)
        await refused(400, "finite", client.infer(url, InferRequest(name, [given]), model_name=name))


async def refused(status, words, asked):
    try:
        await asked
    except httpx.HTTPStatusError as error:
        assert error.response.status_code == status, error
        assert words in str(error), error
    else:
        raise AssertionError(f"{words}: this was answered")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
