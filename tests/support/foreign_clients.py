"""KServe's SDK and Triton's client at this server. Runs in an environment that has both, and this project not.

    python foreign_clients.py OUTPUT BASE_URL KEY LABELS PICTURE...

It writes the masks that each client got, in each form, to OUTPUT (.npz) and prints what else they said, as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as triton
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from PIL import Image

Found = tuple[dict[str, Any], dict[str, object]]


async def by_kserve(url: str, headers: Mapping[str, str], labels: list[str], files: list[bytes]) -> Found:
    """What `InferenceRESTClient` gets by v1 and v2."""
    masks: dict[str, Any] = {}
    said: dict[str, object] = {}
    texts = [base64.b64encode(file).decode() for file in files]
    async with InferenceRESTClient(RESTConfig(protocol="v1", retries=0)) as client:
        said["v1 live"] = await client.is_server_live(url, headers=dict(headers))
        said["v1 model ready"] = await client.is_model_ready(url, "lseg", headers=dict(headers))
        instances = [{"image": {"b64": text}, "labels": labels} for text in texts]
        answer = await client.infer(url, {"instances": instances}, model_name="lseg", headers=dict(headers))
        pngs = [base64.b64decode(prediction["mask"]) for prediction in answer["predictions"]]
        masks["kserve v1"] = np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in pngs])
        try:
            await client.infer(url, {"instances": []}, model_name="lseg", headers=dict(headers))
        except Exception as error:
            said["v1 error"] = str(error)

    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        said["v2 live"] = await client.is_server_live(url, headers=dict(headers))
        said["v2 ready"] = await client.is_server_ready(url, headers=dict(headers))
        said["v2 model ready"] = await client.is_model_ready(url, "lseg", headers=dict(headers))
        said["v2 other model ready"] = await client.is_model_ready(url, "other", headers=dict(headers))
        for form, binary in (("json", False), ("binary", True)):
            image = InferInput("image", [len(files)], "BYTES")
            image.set_data_from_numpy(np.array(files if binary else texts, dtype=object), binary_data=binary)
            names = InferInput("labels", [len(labels)], "BYTES")
            names.set_data_from_numpy(np.array([label.encode() for label in labels], dtype=object), binary_data=binary)
            outputs = [RequestedOutput(name, {"binary_data": binary}) for name in ("mask", "labels")]
            request = InferRequest("lseg", [image, names], request_id=f"id-{form}", request_outputs=outputs)
            response = await client.infer(url, request, model_name="lseg", headers=dict(headers))
            masks[f"kserve v2 {form}"] = response.get_output_by_name("mask").as_numpy()
            said[f"v2 {form} id"] = response.id
            said[f"v2 {form} labels"] = [_text(one) for one in response.get_output_by_name("labels").as_numpy()]
        try:
            wrong = InferInput("image", [1], "BYTES", data=["no image"])
            await client.infer(url, InferRequest("lseg", [wrong]), model_name="lseg", headers=dict(headers))
        except Exception as error:
            said["v2 error"] = str(error)
    return masks, said


def by_triton(address: str, headers: Mapping[str, str], labels: list[str], files: list[bytes]) -> Found:
    """What `tritonclient.http` gets: it sends no Content-Type, and may compress what it sends."""
    masks: dict[str, Any] = {}
    said: dict[str, object] = {}
    own = dict(headers)
    with triton.InferenceServerClient(address) as client:
        said["triton live"] = client.is_server_live(headers=own)
        said["triton ready"] = client.is_server_ready(headers=own)
        said["triton model ready"] = client.is_model_ready("lseg", headers=own)
        said["triton version ready"] = client.is_model_ready("lseg", "1.0", headers=own)
        said["triton server"] = client.get_server_metadata(headers=own)["name"]
        said["triton model"] = client.get_model_metadata("lseg", headers=own)
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])
        texts = np.array([base64.b64encode(file).decode() for file in files], dtype=object)
        names = triton.InferInput("labels", [len(labels)], "BYTES")
        names.set_data_from_numpy(np.array(labels, dtype=object), binary_data=False)
        for form, data, compression in (
            ("json", texts, None),
            ("binary", np.array(files, dtype=object), None),
            ("pixels", pixels, None),
            ("gzip", pixels, "gzip"),
        ):
            image = triton.InferInput("image", list(data.shape), "UINT8" if data.dtype == np.uint8 else "BYTES")
            image.set_data_from_numpy(data, binary_data=form != "json")
            wanted = triton.InferRequestedOutput("mask", binary_data=form != "json")
            options = {"request_compression_algorithm": compression} if compression else {}
            result = client.infer(
                "lseg", [image, names], outputs=[wanted], request_id=form, headers=dict(own),
                parameters={"mode": "fast"}, **options,
            )  # fmt: skip
            masks[f"triton {form}"] = result.as_numpy("mask")
            said[f"triton {form} id"] = result.get_response()["id"]
        all_outputs = client.infer("lseg", [image, names], headers=dict(own))
        masks["triton all outputs"] = all_outputs.as_numpy("mask")
        said["triton labels"] = [_text(one) for one in all_outputs.as_numpy("labels")]
        try:
            client.infer("lseg", [image, names], headers=dict(own), parameters={"mode": "best"})
        except triton.InferenceServerException as error:
            said["triton error"] = str(error)
    return masks, said


def _text(item: object) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def main(arguments: list[str]) -> None:
    output, url, key, labels, *pictures = arguments
    headers = {"X-API-Key": key}
    files = [Path(picture).read_bytes() for picture in pictures]
    masks, said = asyncio.run(by_kserve(url, headers, labels.split(","), files))
    more_masks, more = by_triton(url.removeprefix("http://"), headers, labels.split(","), files)
    np.savez(output, **masks, **more_masks)
    print(json.dumps({**said, **more}))


if __name__ == "__main__":
    main(sys.argv[1:])
