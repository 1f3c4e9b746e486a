"""Replay a room's timeline, paced by media time. Run: python examples/replay_room.py ROOM [SPEED]

Server-sent events: each has a cursor as its id, so a replay that breaks off goes on from there.
"""

import json
import os
import sys

import httpx

URL = os.environ.get("ENGAGEMENT_URL", "http://127.0.0.1:8080")
room = sys.argv[1] if len(sys.argv) > 1 else "demo"
speed = sys.argv[2] if len(sys.argv) > 2 else "10"
cursor = ""

with httpx.Client(base_url=f"{URL}/v1", timeout=None, trust_env=False) as client:
    headers = {"Last-Event-ID": cursor} if cursor else {}
    parameters = {"speed": speed}
    with client.stream(
        "GET", f"/rooms/{room}/replay", params=parameters, headers=headers
    ) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                cursor = value
            elif name == "data" and value.startswith("{"):
                event = json.loads(value)
                if "specversion" in event:
                    print(event.get("mediapts"), event["type"], event["data"])
