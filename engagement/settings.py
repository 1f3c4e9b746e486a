"""Settings: environment variables `ENGAGEMENT_…`, all with a default that works embedded."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from engagement.domain import limits
from engagement.ports import dialled


class ConfigurationError(Exception):
    """Settings under which a process must not start."""


class Settings(BaseSettings):
    """One frozen tree; every field is an environment variable with the prefix `ENGAGEMENT_`."""

    model_config = SettingsConfigDict(
        env_prefix="ENGAGEMENT_", frozen=True, extra="ignore", env_file=None
    )

    data_dir: Path = Field(Path("./.data"), description="State of the embedded engines.")
    host: str = Field("127.0.0.1", description="Address the gateway and media listen on.")
    port: int = Field(8080, ge=1, le=65535, description="Gateway port.")
    media_port: int = Field(8081, ge=1, le=65535, description="Media process port.")
    media_url: str = Field(
        "",
        pattern=r"^(https?://[A-Za-z0-9.\[\]:-]+)?$",
        description="Where browsers reach the media process, https://media.example.com; empty: at "
        "the pages' own host, on the media port.",
    )

    media_internal_url: str = Field(
        "",
        pattern=r"^(https?://[A-Za-z0-9.\[\]:-]+)?$",
        description="Where our own processes reach the media process, http://media:8081; empty: on "
        "this machine.",
    )

    kafka: str = Field("", description="Bootstrap servers; empty starts the embedded broker.")
    kafka_port: int = Field(19092, ge=1024, le=32767, description="Embedded broker port.")
    kafka_controller_port: int = Field(
        0, ge=0, le=32767, description="Embedded controller port; 0 is the broker port + 1."
    )
    kafka_jars_dir: Path | None = Field(
        None, description="Directory of ready Kafka jars, for machines without a network."
    )
    kafka_heap_mb: int = Field(256, ge=128, description="Heap of the embedded broker.")
    cache_dir: Path | None = Field(
        None, description="Where Kafka's jars are kept; default: the user's cache directory."
    )
    partitions: int = Field(8, ge=1, le=1024, description="Partitions of co-partitioned topics.")
    replication: int = Field(1, ge=1, le=5, description="Replicas of every topic.")

    database_url: str = Field(
        "", description="postgresql://…; empty starts the embedded PostgreSQL."
    )
    database_port: int = Field(19432, ge=1024, le=32767, description="Embedded PostgreSQL port.")

    auth: Literal["jwt", "dev"] = Field(
        "jwt", description="`dev` trusts the X-User and X-Role headers and binds loopback only."
    )
    jwt_secret: str = Field("", description="HS256 secret, at least 32 bytes.")
    jwt_jwks_url: str = Field("", description="JWKS of the issuer (EdDSA, RS256 or ES256).")
    jwt_audience: str = Field("engagement", description="Required `aud`.")
    jwt_issuer: str = Field("", description="Required `iss`; empty accepts any.")
    allowed_origins: list[str] = Field(
        default_factory=list,
        description='Browser origins, as JSON list; "*" allows all. Own origin always is.',
    )

    gateway_id: str = Field("", description="Stable name of this gateway; empty makes one.")
    worker_id: str = Field("0", description="Stable ordinal of this worker (KIP-345).")
    workers: int = Field(2, ge=1, le=64, description="Workers that `engagement up` starts.")
    gateways: int = Field(1, ge=1, le=64, description="Gateways that `engagement up` starts.")

    user_requests_per_s: float = Field(20, gt=0, description="Per user and room; burst is 3 s.")
    user_gifts_per_s: float = Field(
        20, gt=0, description="Gifts per user, over all rooms of a gateway; burst is 3 s."
    )
    room_requests_per_s: float = Field(50_000, gt=0, description="Per room and gateway.")
    address_requests_per_s: float = Field(20_000, gt=0, description="Per address and gateway.")
    joins_per_s: float = Field(500, gt=0, description="Sockets admitted per gateway and second.")
    sockets_max: int = Field(20_000, ge=1, description="Sockets of one gateway.")

    gifts_file: Path | None = Field(
        None, description="The gift catalogue (TOML) to offer; default: the one that is shipped."
    )

    synthetic_rooms: list[str] = Field(
        default_factory=list,
        description="Rooms that have a synthetic host when media starts, as JSON list.",
    )

    demo_video: bool = Field(
        True,
        description="Whether the demo's hosts publish video; else it has synthetic hosts, "
        "which are clocks without a picture.",
    )

    media_viewers_max: int = Field(
        100, ge=1, le=1000, description="WebRTC viewers of one media process; the next get 503."
    )
    media_joins_per_s: float = Field(
        20, gt=0, description="WebRTC sessions that one media process admits per second."
    )
    media_addresses: list[str] = Field(
        default_factory=list,
        description="IP addresses for WebRTC media, as JSON list; empty: all of this machine, "
        "or loopback where ENGAGEMENT_HOST is loopback.",
    )
    media_ice_servers: list[dict[str, str]] = Field(
        default_factory=list,
        description="STUN and TURN servers of the media process, as JSON list of objects with "
        "`urls`, `username` and `credential`.",
    )

    media_rtmp_port: int = Field(
        1935, ge=0, le=65535, description="Port for RTMP publishers; 0: none are taken."
    )
    media_srt_port: int = Field(
        8890,
        ge=0,
        le=65535,
        description="Port for SRT publishers, by the system's libsrt; 0: none are taken.",
    )
    media_engines: dict[str, Literal["embedded", "janus", "mediamtx"]] = Field(
        default_factory=dict,
        description="Which engine takes a room's WebRTC, by room as JSON object; `*` is every "
        "other room, `embedded` where nothing is said.",
    )
    media_janus_url: str = Field(
        "", description="HTTP API of the Janus for rooms that it takes: http://host:8088/janus."
    )
    media_janus_secret: str = Field("", description="Janus' api_secret.", repr=False)
    media_janus_admin_key: str = Field(
        "", description="The admin_key of Janus' videoroom plugin.", repr=False
    )
    media_janus_forward_host: str = Field(
        "127.0.0.1", description="Address of the media process to which Janus forwards RTP."
    )
    media_mediamtx: dict[Literal["api", "webrtc", "hls"], str] = Field(
        default_factory=dict,
        description="Addresses of the MediaMTX for rooms that it takes, as JSON object with `api`, "
        "`webrtc` and `hls` (experimental).",
    )
    marks_token: str = Field(
        "",
        repr=False,
        description="Token of role service with which the marks process speaks to media; empty: it "
        "signs its own by ENGAGEMENT_JWT_SECRET.",
    )
    media_recordings: bool = Field(True, description="Whether what is published is recorded.")
    media_recordings_bytes_max: int = Field(
        20_000_000_000,
        ge=100_000_000,
        description="Disk for all recordings; the epochs that ended longest ago go first.",
    )

    moderation_deny: list[str] = Field(default_factory=list, description="Words that deny.")
    moderation_hold: list[str] = Field(default_factory=list, description="Words that hold.")

    flush_ms: float = Field(limits.FLUSH_MS, ge=1, le=1000, description="Envelope flush grid.")
    tick_ms: float = Field(limits.TICK_MS, ge=1, le=1000, description="Fan-out tick.")

    metrics_port: int = Field(
        0, ge=0, le=65535, description="Own /metrics port of worker and projector; 0 = none."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @property
    def bootstrap_servers(self) -> str:
        """Where the broker is, embedded or not."""
        return self.kafka or f"127.0.0.1:{self.kafka_port}"

    @property
    def media_base(self) -> str:
        """The URL at which our own processes reach the media process."""
        return self.media_internal_url or f"http://{dialled(self.host)}:{self.media_port}"

    @property
    def controller_port(self) -> int:
        """Port of the embedded controller."""
        return self.kafka_controller_port or self.kafka_port + 1

    @property
    def dsn(self) -> str:
        """Where the database is, as postgresql:// without a driver."""
        return self.database_url or (
            f"postgresql://engagement@127.0.0.1:{self.database_port}/engagement"
        )


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()  # type: ignore[call-arg]
