"""Bare httpx2 having a picture drawn: the least script for each vendor, which `bench/providers.py` compares with."""

import hashlib
import io
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import httpx2
import numpy as np
from PIL import Image
from pydantic import JsonValue

from controlnet_mcp.providers.http import HttpCall
from controlnet_mcp.providers.placeholders import headers_of

Script: TypeAlias = Callable[["Bare"], Awaitable[bytes]]


@dataclass(slots=True)
class Bare:
    """A client with a kept connection, and the submission that ours sent."""

    client: httpx2.AsyncClient
    call: HttpCall
    body: dict[str, JsonValue]
    calls: int = 0

    async def send(self, method: str, url: str, body: object = None) -> httpx2.Response:
        """Make one call."""
        self.calls += 1
        content = None if body is None else json.dumps(body).encode()
        headers = {} if "/cdn/" in url else headers_of(self.call)  # a signed link refuses the key
        answer = await self.client.request(method, url, content=content, headers=headers)
        return answer.raise_for_status()

    async def submit(self) -> httpx2.Response:
        """Make the submission."""
        return await self.send("POST", self.call.url, self.body)


async def _scenario(bare: Bare) -> bytes:
    base = bare.call.url.partition("/generate")[0]
    job = (await bare.submit()).json()["job"]["jobId"]
    (asset,) = (await bare.send("GET", f"{base}/jobs/{job}")).json()["job"]["metadata"]["assetIds"]
    link = (await bare.send("GET", f"{base}/assets/{asset}")).json()["asset"]["url"]
    return (await bare.send("GET", link)).content


async def _status_then_result(bare: Bare) -> bytes:
    receipt = (await bare.submit()).json()
    await bare.send("GET", receipt["status_url"])
    outcome = (await bare.send("GET", receipt["response_url"])).json()
    return (await bare.send("GET", outcome["images"][0]["url"])).content


async def _zhiqite(bare: Bare) -> bytes:
    scripts = bare.body["alwayson_scripts"]
    assert isinstance(scripts, dict)
    scripts["id_task"] = f"bare-{time.time_ns()}"
    task = (await bare.submit()).json()["data"]["task_id"]
    query = bare.call.url.replace("/controlnet", "/queryTaskInfo")
    rows = (await bare.send("POST", query, {"businessTaskId": task})).json()["data"]["differentialImageRspList"]
    return (await bare.send("GET", rows[0]["image_url"])).content


async def _modelslab(bare: Bare) -> bytes:
    receipt = (await bare.submit()).json()
    told = (await bare.send("POST", receipt["fetch_result"], {"key": bare.body["key"]})).json()
    return (await bare.send("GET", told["output"][0])).content


async def _wavespeed(bare: Bare) -> bytes:
    link = (await bare.submit()).json()["data"]["urls"]["get"]
    return (await bare.send("GET", (await bare.send("GET", link)).json()["data"]["outputs"][0])).content


SCRIPTS: Mapping[str, Script] = {
    "scenario": _scenario,
    "segmind": _status_then_result,
    "zhiqite": _zhiqite,
    "modelslab": _modelslab,
    "wavespeed": _wavespeed,
    "fal": _status_then_result,
}
"""By provider: from the submission to the bytes of the picture."""


@dataclass(frozen=True, slots=True)
class PictureWork:
    """What has to be done to pictures, by the libraries themselves."""

    source: Path
    target: Path
    makes_map: bool

    def prepare(self) -> None:
        """Decode the input, and make its map."""
        if self.makes_map:
            with Image.open(self.source) as picture:
                gray = np.asarray(picture.convert("L"))
            Image.fromarray(cv2.Canny(gray, 100, 200)).save(io.BytesIO(), "PNG", compress_level=1)

    def keep(self, content: bytes) -> None:
        """Prove that the result is a picture, hash it, and force it to disk."""
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
        hashlib.sha256(content).digest()
        with self.target.with_name(f"{time.time_ns()}.png").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
