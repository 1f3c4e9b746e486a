#!/usr/bin/env bash
# Buy a gift with curl and wait for its outcome. Run: examples/send_gift.sh (while `make demo` runs)
set -euo pipefail
url=${ENGAGEMENT_URL:-http://127.0.0.1:8080}/v1
room=${ROOM:-kitchen}
id() { cat /proc/sys/kernel/random/uuid; }
call() { curl --fail-with-body -sS "$@"; echo; }

call -X PUT "$url/rooms/$room" -H 'X-User: ana' -d '{"title": "Cooking with Ana", "host": "ana"}'
call "$url/gifts"
# The platform's backend has sold ben ten coins.
call -X POST "$url/accounts/ben/deposits" -H 'X-User: backend' -H 'X-Role: service' \
  -d "{\"id\": \"$(id)\", \"coins\": 10}"
# `Prefer: wait` answers "paid" or "refused" and why; without it "accepted".
call -X POST "$url/rooms/$room/events" -H 'X-User: ben' -H 'Prefer: wait=10' \
  -d "[{\"id\": \"$(id)\", \"type\": \"gift.send\", \"data\": {\"gift\": \"rose\", \"count\": 5}}]"
call "$url/accounts/ben" -H 'X-User: ben'
call "$url/rooms/$room/leaderboard?period=session"
