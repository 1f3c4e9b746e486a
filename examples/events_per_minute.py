"""Events per minute of media time, drawn in the terminal by DuckDB and a bar of blocks.

Run: pip install duckdb; python examples/events_per_minute.py ROOM
"""

import os
import subprocess
import sys
import tempfile

import duckdb

room = sys.argv[1] if len(sys.argv) > 1 else "demo"
timeline = subprocess.run(
    [sys.executable, "-m", "engagement", "replay", room, "--from-log"], stdout=subprocess.PIPE
)
if timeline.returncode != 0:  # it has said why
    sys.exit(timeline.returncode)
with tempfile.NamedTemporaryFile(suffix=".jsonl", delete=False) as file:
    file.write(timeline.stdout)

rows = duckdb.sql(f"""
    SELECT mediaepoch AS epoch, floor(mediapts / 60000)::INT AS minute,
           count(*) FILTER (type = 'comment.posted') AS comments, count(*) AS events
    FROM read_json('{file.name}', format = 'newline_delimited',
                   columns = {{mediaepoch: 'INT', mediapts: 'BIGINT', type: 'VARCHAR'}})
    GROUP BY ALL ORDER BY ALL
""").fetchall()
os.unlink(file.name)

tallest = max(events for *_, events in rows)
for epoch, minute, comments, events in rows:
    bar = "█" * round(60 * events / tallest)
    print(f"{epoch:2} {minute:5} min {bar} {events} events, {comments} comments")
