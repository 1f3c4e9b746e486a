"""Replay a room's timeline, paced by media time. Run: python examples/replay_room.py ROOM [SPEED]

Needs httpx. Server-sent events: each has a cursor as its id, so a replay that breaks off goes on
from there, as a browser's EventSource does by itself.
"""

import json
import os
import sys
import time

import httpx

URL = os.environ.get("ENGAGEMENT_URL", "http://127.0.0.1:8080")
room = sys.argv[1] if len(sys.argv) > 1 else "demo"
speed = sys.argv[2] if len(sys.argv) > 2 else "10"
cursor = ""


def replay(client: httpx.Client) -> None:
    """Until the server has no more; raises httpx.TransportError when it breaks off."""
    global cursor
    headers = {"Last-Event-ID": cursor} if cursor else {}
    path = f"/v1/rooms/{room}/replay"
    with client.stream("GET", path, params={"speed": speed}, headers=headers) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                cursor = value
            elif name == "data" and "specversion" in (event := json.loads(value)):
                print(event.get("mediapts"), event["type"], event["data"], flush=True)


with httpx.Client(base_url=URL, timeout=60, trust_env=False) as client:
    while True:
        try:
            replay(client)
            break
        except httpx.TransportError as error:
            print("broke off:", error, file=sys.stderr)
            time.sleep(1)
