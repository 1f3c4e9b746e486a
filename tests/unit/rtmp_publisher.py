"""The other side of an RTMP connection, for tests: what a publisher sends, byte by byte."""

from media.rtmp.amf0 import Value, encode
from media.rtmp.chunks import COMMAND, Message

HANDSHAKE = b"\x03" + bytes(1536) + bytes(1536)


def chunk(kind: int, payload: bytes, *, at_ms: int = 0, on: int = 3, stream: int = 1) -> bytes:
    """A message in chunks of 128 bytes, with an extended timestamp where it needs one."""
    extended = at_ms.to_bytes(4, "big") if at_ms >= 0xFFFFFF else b""
    out = bytes((on,)) + min(at_ms, 0xFFFFFF).to_bytes(3, "big")
    out += (
        len(payload).to_bytes(3, "big") + bytes((kind,)) + stream.to_bytes(4, "little") + extended
    )
    out += payload[:128]
    for at in range(128, len(payload), 128):
        out += bytes((0xC0 | on,)) + extended + payload[at : at + 128]
    return out


def message(sent: Message) -> bytes:
    """The same of a message."""
    return chunk(sent.kind, sent.payload, at_ms=sent.timestamp_ms, stream=sent.stream)


def command(name: str, number: float, *values: Value) -> bytes:
    """A command."""
    return chunk(COMMAND, encode(name, number, *values))


def asking(name: str = "demo?token=secret", app: str = "live") -> bytes:
    """Everything up to `publish`, as FFmpeg sends it."""
    return (
        HANDSHAKE
        + command("connect", 1.0, {"app": app, "type": "nonprivate", "tcUrl": f"rtmp://h/{app}"})
        + command("releaseStream", 2.0, None, name)
        + command("FCPublish", 3.0, None, name)
        + command("createStream", 4.0, None)
        + command("publish", 5.0, None, name, "live")
    )


def avc_configuration(annex_b: bytes) -> bytes:
    """A video tag with the configuration that a key frame in Annex B holds."""
    units = nal_units(annex_b)
    [sps] = [unit for unit in units if unit[0] & 31 == 7]
    [pps] = [unit for unit in units if unit[0] & 31 == 8]
    record = b"\x01" + sps[1:4] + b"\xff\xe1" + len(sps).to_bytes(2, "big") + sps
    return b"\x17\x00\0\0\0" + record + b"\x01" + len(pps).to_bytes(2, "big") + pps


def avc_frame(annex_b: bytes, *, is_key: bool, offset_ms: int = 0) -> bytes:
    """A video tag with a frame."""
    units = [unit for unit in nal_units(annex_b) if unit[0] & 31 not in (7, 8, 9)]
    data = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    return bytes((0x17 if is_key else 0x27, 1)) + offset_ms.to_bytes(3, "big", signed=True) + data


def nal_units(annex_b: bytes) -> list[bytes]:
    """Units between start codes."""
    return [unit for unit in annex_b.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
