#!/usr/bin/env bash
# A PK battle between two rooms with curl: invite, accept, gifts, the end.
# Run: examples/battle.sh [SECONDS] (while `make demo` runs)
set -euo pipefail
url=${ENGAGEMENT_URL:-http://127.0.0.1:8080}/v1
lasts=${1:-10}
id() { cat /proc/sys/kernel/random/uuid; }
call() { curl --fail-with-body -sS "$@"; echo; }
battle=$(id) us=${ROOM:-kitchen} them=${ROOM:-kitchen}-next-door

call -X PUT "$url/rooms/$us" -H 'X-User: ana' -d '{"title": "Soup", "host": "ana"}'
call -X PUT "$url/rooms/$them" -H 'X-User: bob' -d '{"title": "Salad", "host": "bob"}'
call -X POST "$url/accounts/fan/deposits" -H 'X-User: backend' -H 'X-Role: service' \
  -d "{\"id\": \"$(id)\", \"coins\": 100}"

# Ana asks, Bob accepts: the battle runs. The last half of it counts double.
call -X PUT "$url/battles/$battle" -H 'X-User: ana' -d "{\"rooms\": [\"$us\", \"$them\"],
  \"duration_s\": $lasts, \"windows\": [{\"after_s\": $((lasts / 2)),
  \"duration_s\": $((lasts - lasts / 2)), \"multiplier\": 2}]}"
call -X POST "$url/battles/$battle/accept" -H 'X-User: bob'

give() {
  call -X POST "$url/rooms/$1/events" -H 'X-User: fan' -H 'Prefer: wait=10' \
    -d "[{\"id\": \"$(id)\", \"type\": \"gift.send\", \"data\": {\"gift\": \"rose\", \"count\": $2}}]"
}
give "$us" 7
give "$them" 3

# Everybody who watches either room has it in its timeline; so has Kafka, in live.battle.v1.
until [[ $(call "$url/battles/$battle" | tee /dev/stderr) == *'"status":"ended"'* ]]; do
  sleep 1
done
until ended=$(call "$url/rooms/$us/timeline?types=battle.ended") && [[ $ended == *'"data"'* ]]; do
  sleep 0.2
done
echo "$ended"
