"""The committed descriptions are what the code says, and the code does what they say."""

import asyncio
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websockets

from engagement.commands import describe
from engagement.specs import frames
from tests.faults.instance import Instance

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_the_committed_document_is_the_generated_one(name: str) -> None:
    generated = json.loads(getattr(describe, name)())
    committed = json.loads((DOCS / f"{name}.json").read_text())
    assert committed == generated, f"run: engagement {name} > docs/{name}.json"


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_every_reference_points_to_something(name: str) -> None:
    document = json.loads((DOCS / f"{name}.json").read_text())

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [ref for value in node.values() for ref in references(value)]
        if isinstance(node, list):
            return [ref for item in node for ref in references(item)]
        return []

    found = references(document)
    assert len(found) > 20
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]


async def test_every_frame_of_a_real_gateway_is_as_described(instance: Instance, room: str) -> None:
    decode = msgspec.json.Decoder(frames.ServerFrame).decode
    address = instance.gateways(1)[0]
    url = f"ws://{address}/v1/rooms/{room}/live"
    import httpx

    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        body = {"title": "t", "host": "ana"}
        await client.put(f"/v1/rooms/{room}", json=body, headers={"X-User": "ana"})
        start = {"do": "start"}
        media = f"http://127.0.0.1:{instance.ports.media}/v1/rooms/{room}/synthetic"
        headers = {"X-User": "ana", "X-Role": "service"}
        (await client.post(media, json=start, headers=headers)).raise_for_status()

    protocol = websockets.Subprotocol("engagement.v1")
    async with websockets.connect(url, subprotocols=[protocol], proxy=None) as socket:
        await socket.send('{"t":"auth","token":"dev:ben"}')
        seen: dict[str, Any] = {}
        comment = {"id": str(uuid.uuid4()), "type": "comment.post", "data": {"text": "hi"}}
        gift = {"id": str(uuid.uuid4()), "type": "gift.send", "data": {"gift": "rose"}}
        await socket.send(json.dumps({"t": "send", "events": [comment, gift]}))
        await socket.send('{"t":"ping","id":"p","at_ms":1.5}')
        await socket.send('{"t":"dance"}')
        wanted = {"Hello", "Events", "Clock", "Ack", "Outcome", "Pong", "Error"}
        async with asyncio.timeout(30):
            while not wanted <= seen.keys():
                frame = decode(await socket.recv())
                seen.setdefault(type(frame).__name__, frame)
    assert [result.status for result in seen["Ack"].results] == ["accepted", "accepted"]
    [told] = seen["Outcome"].results
    assert (told.id, told.status, told.code) == (gift["id"], "refused", "insufficient_funds")
    assert seen["Hello"].snapshot.room == room


def test_no_request_that_openapi_allows_or_forbids_gets_a_5xx(instance: Instance) -> None:
    """Positive and negative data over every operation, by schemathesis, bounded."""
    address = instance.gateways(1)[0]
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            "run",
            f"http://{address}/openapi.json",
            "--checks=not_a_server_error",
            "--phases=examples,coverage,fuzzing",
            "--mode=all",
            "--max-examples=6",
            "--header=X-User: ana",
            "--header=X-Role: service",
            "--exclude-path-regex=/replay$",
            "--request-timeout=10",
            "--suppress-health-check=all",
            "--seed=1",
        ],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"([5-9]\d\d|\d{4,}) generated, \1 passed", done.stdout), done.stdout[-2000:]
