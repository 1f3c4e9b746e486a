#!/usr/bin/env bash
# Open a room and post to it with curl. Run: examples/post_events.sh (while `make demo` runs)
set -euo pipefail
url=${ENGAGEMENT_URL:-http://127.0.0.1:8080}/v1
room=${ROOM:-kitchen}
id() { cat /proc/sys/kernel/random/uuid; }

curl --fail-with-body -sS -X PUT "$url/rooms/$room" -H 'X-User: ana' \
  -d '{"title": "Cooking with Ana", "host": "ana"}'
echo
curl --fail-with-body -sS -X POST "$url/rooms/$room/events" -H 'X-User: ben' \
  -d "[{\"id\": \"$(id)\", \"type\": \"comment.post\", \"data\": {\"text\": \"smells good\"}},
       {\"id\": \"$(id)\", \"type\": \"like.tap\", \"data\": {\"count\": 2}}]"
echo
curl --fail-with-body -sS "$url/rooms/$room"
echo
