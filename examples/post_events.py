"""Open a room and post to it. Run: python examples/post_events.py (while `make demo` runs)."""

import os
import uuid

import httpx

URL = os.environ.get("ENGAGEMENT_URL", "http://127.0.0.1:8080")
ROOM = os.environ.get("ROOM", "kitchen")


def request(kind: str, **data: object) -> dict[str, object]:
    """A request; its id is its idempotency key: keep it, and repeat it when nobody answers."""
    return {"id": str(uuid.uuid4()), "type": kind, "data": data}


with httpx.Client(base_url=f"{URL}/v1", timeout=10, trust_env=False) as client:
    room = {"title": "Cooking with Ana", "host": "ana"}
    client.put(f"/rooms/{ROOM}", json=room, headers={"X-User": "ana"}).raise_for_status()

    batch = [
        request("comment.post", text="smells good"),
        request("like.tap", count=3),
        request("comment.post", text=""),  # refused alone, with the reason
    ]
    answer = client.post(f"/rooms/{ROOM}/events", json=batch, headers={"X-User": "ben"})
    answer.raise_for_status()
    for result in answer.json()["results"]:
        print(result["status"], result.get("code", ""), result.get("detail", ""))

    again = client.post(f"/rooms/{ROOM}/events", json=batch[0], headers={"X-User": "ben"})
    print("the first one again:", again.json()["results"][0]["status"])
