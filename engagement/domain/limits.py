"""Every bound of the system, with its unit in the name and its reason beside it.

Rates and sizes that an operator may want to change are defaults here and settings in
:mod:`engagement.settings`; the others are properties of the design.
"""

from typing import Final

# --- names -------------------------------------------------------------------------------------
ROOM_ID_CHARS_MAX: Final = 64
"""Room ids are Kafka keys, URL segments and metric-free log fields: short and printable."""
ACTOR_ID_CHARS_MAX: Final = 128
"""User ids come from a platform's own database: UUIDs, ULIDs, e-mail-like names all fit."""
TITLE_CHARS_MAX: Final = 200
"""A title is shown on one line."""

# --- requests ----------------------------------------------------------------------------------
BATCH_REQUESTS_MAX: Final = 500
"""A batch is acknowledged as a whole; 500 keeps its worst answer under one flush."""
BODY_BYTES_MAX: Final = 512 * 1024
"""500 requests of 1 KiB; larger bodies are refused before they are read."""
FRAME_BYTES_MAX: Final = 16 * 1024
"""One WebSocket frame from a viewer: a handful of requests (OWASP ASVS 5.0, 4.4)."""
COMMENT_CHARS_MAX: Final = 500
"""Longer texts are not comments of a live room; every platform we know caps lower."""
LIKE_COUNT_MAX: Final = 1_000
"""Clients sum taps between two sends; no thumb does a thousand."""
MUTE_S_MAX: Final = 30 * 24 * 3600
"""A month. Longer is a ban."""
GIFT_COUNT_MAX: Final = 10_000
"""The largest bundle that any catalogue sells in one tap."""

# --- idempotency -------------------------------------------------------------------------------
DEDUPE_IDS_PER_PARTITION: Final = 50_000
"""The window in which a repeated comment or like is recognised by the processor, per partition.
Money has no window: its ids never expire. It is part of the checkpoint (50 bytes an id)."""
SEED_FACTS_PER_PARTITION: Final = 20_000
"""How much of the tail of a fact topic is read to fill such a window where there is no checkpoint
of it; that costs 0.1 s a partition at this size."""
GATEWAY_IDS_MAX: Final = 200_000
"""The window in which one gateway answers `duplicate` (or `id_reused`) itself."""

# --- presence ----------------------------------------------------------------------------------
GATEWAY_LEASE_RENEW_S: Final = 5
"""A gateway renews the leases of all its sockets with one request per partition."""
GATEWAY_LEASE_TTL_S: Final = 20
"""Three renewals may be lost before a dead gateway's viewers are taken to have left."""
HTTP_LEASE_TTL_S: Final = 60
"""A client without a socket is present for a minute after its last request."""
LEASE_SILENCE_S: Final = 10
"""Leases age only while requests arrive: two renewals of any gateway may be missing. A broker
that is away for a minute must not make everyone leave."""

# --- windows -----------------------------------------------------------------------------------
WINDOW_MS: Final = 250
"""Joins, leaves and likes reach viewers as one count per room and window."""
NOTABLE_MAX: Final = 10
"""Hosts and moderators that a window names."""
SAMPLE_MAX: Final = 5
"""Ordinary viewers that a window names, so that a page can say who came."""
TOP_LIKERS_MAX: Final = 3
"""Names beside the like counter."""
CLOCK_SKEW_MS: Final = 2_000
"""Hosts with NTP are milliseconds apart; a gateway further ahead than this is not waited for."""

# --- room state --------------------------------------------------------------------------------
RECENT_COMMENTS_PER_ROOM: Final = 300
"""How far back the processor knows a comment's author, so that an author may remove it."""
HELD_COMMENTS_PER_ROOM: Final = 1_000
"""Comments that wait for a moderator; the oldest is denied when the queue is full."""
MUTES_PER_ROOM_MAX: Final = 10_000
"""Mutes and bans live in the room's state, which is checkpointed: bounded."""

# --- money -------------------------------------------------------------------------------------
COINS_MAX: Final = 2**53 - 1
"""The largest balance: what every JSON reader can hold exactly."""
GIFT_PRICE_COINS_MAX: Final = 1_000_000_000
"""Times `GIFT_COUNT_MAX` it stays far below `COINS_MAX`."""
DEPOSIT_COINS_MAX: Final = 1_000_000_000_000
"""One deposit; no purchase of coins is larger."""
HOLD_TTL_S_MAX: Final = 7 * 24 * 3600
"""A week: a reward that is not decided by then is void."""
GIFTS_IN_CATALOGUE_MAX: Final = 10_000
"""The catalogue is in every gateway's memory, and in one answer."""

DECIDED_RECORDS_MAX: Final = 20_000
"""Envelopes taken from the consumer at once: all that it has of all partitions, or one partition's
backlog would keep the others waiting."""
DECIDED_BYTES_MAX: Final = 1024 * 1024
"""Of envelopes decided in one transaction: some 3,000 requests, half a second. A lease is renewed
between transactions, so none may last as long as a lease."""
DECIDE_MS: Final = 30
"""At most one transaction in this time: what comes meanwhile costs little in the next one, and a
transaction by itself costs what a dozen gifts do."""
OUTBOX_ROWS_WAITING_MAX: Final = 64
"""Committed and not yet on the log; beyond it nothing more is decided until the log catches up."""

# --- combos ------------------------------------------------------------------------------------
COMBO_WINDOW_MS: Final = 5_000
"""Taps further apart than this, in accepted time, are two combos."""
COMBO_GRACE_MS: Final = 1_500
"""How much longer the timer waits for taps that are still being paid."""
COMBOS_PER_ROOM_MAX: Final = 5_000
"""Open combos of one room; the one that was tapped longest ago is ended beyond it."""
SUPPORTERS_PER_ROOM_MAX: Final = 10_000
"""Senders whose coins of the session a gateway knows, for `top_senders`; the table knows all."""
TOP_SENDERS: Final = 10
"""In a snapshot."""

# --- battles -----------------------------------------------------------------------------------
BATTLE_SIDES_MAX: Final = 9
"""What fits a screen, and what the largest platforms offer."""
BATTLE_DURATION_S_MAX: Final = 3_600
BATTLE_INVITATION_S: Final = 60
"""An invitation that nobody answers."""
BATTLE_PUNISH_S_MAX: Final = 600
BATTLE_WINDOWS_MAX: Final = 10
BATTLE_MULTIPLIER_MAX: Final = 10
BATTLE_SETTLE_MS: Final = 1_000
"""After the deadline gateways may still be writing gifts that they accepted before it. So long
after the owner of the battle has seen the log take its own decision to settle, a barrier goes
through every partition of the ledger, and what is before it counts."""
BATTLE_LOG_SLOW_MS: Final = 500
"""A timer that took longer than this from its owner through the log and back says that the log was
not well: a barrier is not sent on its word, gateways may have been as slow."""
BATTLE_LEAD_MS: Final = 250
"""A battle starts so long after it was decided that it does: the ledger then knows of it before it
decides about the first gift that counts."""
BATTLE_TOP: Final = 3
"""Supporters named beside the bar."""
BATTLES_KNOWN_PER_ROOM: Final = 16
"""Whose news a room recognises as old: a worker that slept may tell of a battle hours later."""
HOST_GONE_S: Final = 10.0
"""A host whose stream has ended for so long has left the battle."""

# --- fan-out -----------------------------------------------------------------------------------
TICK_MS: Final = 25
"""Events of a busy room are coalesced for one tick; an idle room is flushed at once."""
TICK_US_PER_VIEWER: Final = 50
"""A frame costs 10 µs per socket, so a room with many viewers ticks more slowly and takes at most
a fifth of its gateway: 1,000 viewers are sent to every 50 ms, 500 every 25 ms."""
TICK_MS_MAX: Final = 250
"""But no more slowly than this."""
ROOM_RING_EVENTS: Final = 2_000
"""Events of one room that a gateway keeps for resume; older cursors get a snapshot."""
TAIL_SEED_FACTS_PER_PARTITION: Final = 5_000
"""How much of each partition a starting gateway reads back, to be able to resume viewers."""
SNAPSHOT_COMMENTS: Final = 50
"""Comments that a joining viewer sees at once."""
SOCKET_BUFFER_BYTES_MAX: Final = 256 * 1024
"""What may wait in user space for one socket; beyond it the viewer is slow (fan-out is shaped,
then the socket is closed with a code that tells the client to resume)."""
SOCKET_SHAPE_BYTES: Final = 64 * 1024
"""From here on comments and counts are left out for this socket and told in `skipped`."""
SOCKET_SNDBUF_BYTES: Final = 64 * 1024
"""Kernel send buffer per viewer: without it the kernel hides a stuck reader behind 4 MB."""
IN_FLIGHT_SENDS_MAX: Final = 16
"""Credits of one socket: unacknowledged `send` frames."""
HANDSHAKES_PENDING_MAX: Final = 1_000
"""Joins that may wait for admission before new ones are told to come back."""
AUTH_TIMEOUT_S: Final = 5
"""A socket that has not named itself by then is closed."""

# --- clock -------------------------------------------------------------------------------------
ANCHOR_INTERVAL_S: Final = 5
"""An anchor at least this often: 50 ppm of drift then costs 0.25 ms."""
ANCHOR_STEP_MS: Final = 20
"""A deviation from the last anchor beyond this is a step and makes an anchor at once."""
DRIFT_PPM_MAX: Final = 200
"""Crystal oscillators of consumer hardware stay within 100 ppm; two of them, within 200."""
ANCHORS_PER_ROOM: Final = 32
"""Recent anchors that a follower keeps: a step within the flush is stamped by the right one."""
CLOCK_OFFSET_WINDOW_MS: Final = 30_000
"""A fastest path within this time is what the media line is tied to (media.md section 8)."""
CLOCK_SPREAD_WINDOW_MS: Final = 2_000
"""How late frames are is remembered this long: a stall is forgotten soon after it."""
CLOCK_OPENING_ERR_MS: Final = 250.0
"""Stated for the first second of an epoch, when one frame is all that is known."""
CLOCK_REBASE_MS: Final = 500
"""Frames that are all later than this for a spread window have lost that time for good."""
CLOCK_GAP_MS: Final = 2_000
"""Without a frame for so long the epoch ends; the next frame opens another."""
CLOCK_CHECK_SLACK_MS: Final = 5.0
"""Announcements that no frame triggers are made this much early: a timer's coarseness."""
CLOCK_LAG_UNMEASURED_MS: Final = 250.0
"""Stated by a follower of the clock topic until it has seen one anchor arrive."""
FRAMES_OLDER_MAX: Final = 8
"""B-frames arrive out of order, but never so many in a row: then media time has gone back."""
FRAMES_BACK_MS_MAX: Final = 500
"""Nor does any codec reorder frames over half a second."""
SYNTHETIC_ROOMS_MAX: Final = 1_000
"""Virtual publishers of one media process: each costs 0.05 % of a core at 30 frames a second."""
SYNTHETIC_DRIFT_PPM_MAX: Final = 1_000
"""Five times what any crystal does."""
SYNTHETIC_STEP_MS_MAX: Final = 3_600_000
"""An hour: a publisher's clock that was set to another time zone."""

# --- log ---------------------------------------------------------------------------------------
FLUSH_MS: Final = 10
"""One envelope per partition and grid point: Faust pays per record, not per request."""
ENVELOPE_REQUESTS_MAX: Final = 1_000
"""Requests of one envelope: with 500-byte requests half of what the broker takes."""
RECORD_BYTES_MAX: Final = 1_048_576
"""Kafka's default message.max.bytes."""
COMMIT_INTERVAL_S: Final = 1.0
"""Consumed offsets; what a restart replays at most."""
CHECKPOINT_FACTS: Final = 5_000
"""So many facts of a partition make a checkpoint of its changed rooms: a restart folds at most as
many. Also the ids in one record of the duplicate filter: 128 bytes an actor, under 1 MB."""
CHECKPOINT_INTERVAL_S: Final = 30.0
"""A quieter partition is checkpointed this often, if anything has changed."""
CHECKPOINT_LOG_BYTES: Final = 32 * 1024 * 1024
"""A room whose checkpoint lies further back is written again, changed or not: a start then reads
no more than this and what is live, whenever the broker compacts."""
WORKER_STOP_TIMEOUT_S: Final = 1.5
"""For the last checkpoint of a worker that is told to end; it has 5 s for everything."""
SESSION_TIMEOUT_S: Final = 10
"""A lost host's partitions move after this; a restarted worker keeps its own (KIP-345)."""

# --- projections -------------------------------------------------------------------------------
PROJECTION_BATCH_RECORDS: Final = 4_000
"""Records folded into one transaction."""
PROJECTION_BATCH_MS: Final = 100
"""At most one transaction in this time, unless it is full: a thin batch waits to become thicker,
and nobody watches projections frame by frame."""
PROJECTOR_LEASE_S: Final = 5.0
"""A projector that was stopped or lost its machine is replaced after this; one that was killed,
at once."""
PROJECTOR_CLAIM_S: Final = 1.0
"""A projector renews its lease and looks for free partitions this often."""
PROJECTOR_RETRY_S_MAX: Final = 2.0
"""Longest pause between two tries to reach a broker or a database that is away."""
VERIFY_WAIT_S: Final = 20.0
"""How long a proof waits for what is under way from the ledger to rooms and battles."""
PAGE_ITEMS_MAX: Final = 1_000
"""Items of one page of a list."""
PAGE_ITEMS_DEFAULT: Final = 100
"""What a list answers when nobody asks."""
REPLAY_PAGE_EVENTS: Final = 500
"""Events that a replay reads ahead."""
REPLAY_SPEED_MAX: Final = 100.0
"""Faster than this a replay is a download; take the timeline."""

# --- gateway -----------------------------------------------------------------------------------
ACK_TIMEOUT_S: Final = 8.0
"""How long a POST waits for the broker before it answers 503: a broker restart takes 2-5 s."""
PENDING_BYTES_MAX: Final = 32 * 1024 * 1024
"""Envelopes that wait for the broker; beyond it requests are answered 503 at once."""
ENVELOPE_BYTES_MAX: Final = 900_000
"""Larger envelopes are split: a record must stay under `RECORD_BYTES_MAX` with its overhead."""
BODY_TIMEOUT_S: Final = 10.0
"""A request body that trickles in for longer is not a client but an attack."""
DRAIN_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of a refused body this much is read and forgotten, so that its sender reads why."""
DRAIN_TIMEOUT_S: Final = 2.0
"""And for so long."""
HEADERS_TIMEOUT_S: Final = 10.0
"""The same for the headers of a connection's first request."""
RATE_BURST_S: Final = 3.0
"""A token bucket holds this many seconds of its rate."""
BUCKETS_MAX: Final = 200_000
"""Token buckets in use at once; idle ones cost nothing. 200,000 are 30 MB."""
SETTLED_TIMEOUT_S: Final = 0.5
"""How long a gift waits to be looked up; then it is taken without, and the ledger finds repeats."""
SETTLED_AWAY_S: Final = 1.0
"""A database that did not answer is not asked again for so long."""
SETTLED_POLL_S: Final = 0.01
"""First pause between two looks for what the ledger made of a rare request; they double."""
SETTLED_POLL_S_MAX: Final = 0.2
"""Longest of these pauses."""
CATALOGUE_WAIT_S: Final = 5.0
"""A gift of the file whose terms the ledger has not told yet is waited for: on a fresh instance the
first worker is ready after 4 s."""
OUTCOME_WAIT_S_MAX: Final = 30.0
"""The longest `Prefer: wait` that is honoured: gateways and balancers cut idle requests later."""
OUTCOMES_AWAITED_MAX: Final = 200_000
"""Gifts whose senders are told the outcome; 100 bytes each."""
ROOM_WAIT_S: Final = 0.25
"""A room that another gateway has just opened is here within this; then it is `room_not_found`."""
ROOM_IDLE_S: Final = 600.0
"""A room that has been closed for so long is let go by gateways: viewers who come late are past."""
ARCHIVE_READS_MAX: Final = 4
"""Rooms of the past that are looked up at once: names that somebody makes up must not take the
database away from those who read."""
ROOM_SCAN_S: Final = 60.0
"""Such rooms are looked for this often."""
ROOM_FACT_TIMEOUT_S: Final = 10.0
"""How long opening or closing a room waits for its fact to come back: a worker restarts in 4 s."""
CURSOR_WAIT_S: Final = 1.0
"""A cursor of a gateway that is ahead of this one is waited for; then it is not ours."""
RING_BYTES_MAX: Final = 128 * 1024 * 1024
"""Events of all rooms that a gateway keeps for resume; the oldest go first."""
TAIL_FACT_BYTES_MAX: Final = 64 * 1024
"""A fact beyond this is nothing that our processors write: it is not fanned out."""
TAIL_IDS_PER_PARTITION: Final = 20_000
"""Facts written twice are at most a commit interval apart: 20,000 a second and partition."""
TAIL_RECORDS_PER_FETCH: Final = 1_000
"""Records handled without giving way to sockets: 1,000 are 5 ms."""
CLOCK_RECORDS_PER_PARTITION: Final = 10_000
"""How much of the clock topic a starting gateway reads back: an hour of twelve live rooms, and
compaction keeps the last anchor of every room that ended longer ago."""
CLOCK_ANCHORS_IN_HELLO: Final = 8
"""40 s of anchors: a viewer who watches 3 s behind needs those of the recent past."""
CLIENT_ERRORS_MAX: Final = 20
"""Refused frames of one socket; a client that makes more does not listen."""
FRAMES_PER_S: Final = 50
"""Frames from one socket and second; sends are limited by credits, this bounds the rest."""
RESUME_CHUNK_BYTES: Final = 32 * 1024
"""Missed events are sent in frames of this size, each when the one before has left."""
RESUME_STALL_S: Final = 10.0
"""A socket that takes none of them for so long is closed as slow."""
CLOSE_TIMEOUT_S: Final = 2.0
"""A close frame that a slow socket has not taken by then becomes an abort."""
TOKEN_CHARS_MAX: Final = 4_096
"""Longer tokens are refused unread; headers are limited by the server anyway."""
SOCKET_LIFE_S_MAX: Final = 7 * 24 * 3600
"""A socket under a token that never ends is made to sign in again after a week."""
TOKENS_CACHED_MAX: Final = 20_000
"""Verified tokens that need not be verified again: one per socket."""
TOKEN_LEEWAY_S: Final = 10
"""Between our clock and the issuer's."""
JWKS_BYTES_MAX: Final = 256 * 1024
"""A key set, not a download."""
JWKS_KEYS_MAX: Final = 100
"""Keys of an issuer, with room for rotation."""
JWKS_AGE_S: Final = 300.0
"""A removed key is honoured at most this long."""
JWKS_REFRESH_S: Final = 10.0
"""An unknown `kid` makes us ask again, at most this often."""
REPLAYS_MAX: Final = 500
"""Replays that one gateway streams at once."""
QUERY_TIMEOUT_S: Final = 5.0
"""A read that the database has not answered by then is answered 503."""
