"""Watch a room, coming back where it was. Run: python examples/watch_room.py (needs websockets)."""

import asyncio
import json
import os

import websockets

URL = os.environ.get("ENGAGEMENT_URL", "http://127.0.0.1:8080").replace("http", "ws", 1)
ROOM = os.environ.get("ROOM", "demo")
EVENTS = int(os.environ.get("EVENTS", "0"))  # stop after so many; 0 watches for ever
TERMINAL = range(3500, 4000)  # close codes that tell a client not to come back


async def watch() -> None:
    cursor, seen = "", 0
    while True:
        query = f"?cursor={cursor}" if cursor else ""
        try:
            async with websockets.connect(
                f"{URL}/v1/rooms/{ROOM}/live{query}",
                subprotocols=[websockets.Subprotocol("engagement.v1")],
                proxy=None,
            ) as socket:
                await socket.send(json.dumps({"t": "auth", "token": "dev:watcher"}))
                async for text in socket:
                    frame = json.loads(text)
                    cursor = frame.get("cursor", cursor)
                    if frame["t"] == "hello" and not frame["recovered"]:
                        print("in", frame["room"], "with", frame["snapshot"]["online"], "others")
                    for event in frame.get("events", ()):
                        at = f"{event.get('mediaepoch')}/{event.get('mediapts')} ms"
                        print(at, event["type"], event.get("actorid", ""), event["data"])
                        seen += 1
                        if seen == EVENTS:
                            return
        except websockets.ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code in TERMINAL:
                raise
        except OSError as error:
            print("gateway is away:", error)
        await asyncio.sleep(1)


asyncio.run(watch())
