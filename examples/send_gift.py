"""Buy a gift and wait for what becomes of it. Run: python examples/send_gift.py (needs httpx).

Coins come from the platform: its backend deposits them, as `service`. Without a token this works
where ENGAGEMENT_AUTH=dev, as in `make demo`.
"""

import os
import uuid

import httpx

URL = os.environ.get("ENGAGEMENT_URL", "http://127.0.0.1:8080")
ROOM = os.environ.get("ROOM", "kitchen")
VIEWER = f"viewer-{uuid.uuid4().hex[:8]}"
BACKEND = {"X-User": "backend", "X-Role": "service"}


def send(client: httpx.Client, gift: dict[str, object]) -> dict[str, str]:
    """Post it until somebody answers. Its id is the idempotency key: it is never paid twice."""
    headers = {"X-User": VIEWER, "Prefer": "wait=10"}
    while True:
        try:
            answer = client.post(f"/rooms/{ROOM}/events", json=[gift], headers=headers)
        except httpx.TransportError:
            continue
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return answer.raise_for_status().json()["results"][0]


with httpx.Client(base_url=f"{URL}/v1", timeout=15, trust_env=False) as client:
    room = {"title": "Cooking with Ana", "host": "ana"}
    client.put(f"/rooms/{ROOM}", json=room, headers={"X-User": "ana"}).raise_for_status()
    cheapest = min(client.get("/gifts").json()["items"], key=lambda gift: gift["coins"])
    print(f"{VIEWER} wants three of {cheapest['name']!r}, for {cheapest['coins']} each")

    data = {"gift": cheapest["gift"], "count": 3}
    result = send(client, {"id": str(uuid.uuid4()), "type": "gift.send", "data": data})
    print("without coins:", result["status"], result.get("code", ""))

    deposit = {"id": str(uuid.uuid4()), "coins": 3 * cheapest["coins"] + 1}
    path = f"/accounts/{VIEWER}/deposits"
    client.post(path, json=deposit, headers=BACKEND).raise_for_status()

    gift = {"id": str(uuid.uuid4()), "type": "gift.send", "data": data}
    print("with coins:", send(client, gift)["status"])
    again = send(client, gift)
    print("the same again:", again["status"], again["outcome"])
    wallet = client.get(f"/accounts/{VIEWER}", headers={"X-User": VIEWER}).json()
    print("left in the wallet:", wallet["coins"])
