"""Recorded provider traffic: found by WEIR_WIRE_DIR, else ../shared/wire beside the checkout."""

import base64
import functools
import json
import os
import pathlib
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]


def folder():
    return pathlib.Path(os.environ.get("WEIR_WIRE_DIR") or ROOT.parent / "shared" / "wire")


@dataclass
class Recording:
    id: str
    api: str
    data: dict

    @property
    def features(self):
        return set(self.data["features"])

    @property
    def is_stream(self):
        return self.data["framing"] == "sse"

    @property
    def status(self):
        return self.data["response"]["status"]

    @property
    def model(self):
        return self.data["model"]

    @property
    def path(self):
        return self.data["request"]["path"]

    @property
    def request_body(self):
        return _body(self.data["request"])

    @property
    def response_body(self):
        return _body(self.data["response"]) or b""

    @property
    def response_headers(self):
        return dict(self.data["response"]["headers"])

    def __str__(self):
        return f"{self.api}/{self.id}"


def _body(message):
    if message.get("body_b64") is not None:
        return base64.b64decode(message["body_b64"])
    return None if message.get("body") is None else message["body"].encode()


@functools.lru_cache
def load(*apis):
    """The recordings of these APIs, in a stable order; none when the folder is absent."""
    found = []
    for api in apis:
        for path in sorted((folder() / api).glob("*.json")):
            data = json.loads(path.read_text(encoding="utf-8"))
            found.append(Recording(data["id"], api, data))
    return found
