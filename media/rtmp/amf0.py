"""AMF0, the values in RTMP's commands. Pure.

Source: Adobe, "Action Message Format -- AMF 0" (2007). Objects and arrays with names become dicts;
what publishers never send (references, typed objects, XML) is refused.
"""

import struct
from typing import Final

from engagement.errors import BadRequestError
from media.rtmp import bounds

Value = float | bool | str | None | dict[str, "Value"] | list["Value"]

_NUMBER, _BOOLEAN, _STRING, _OBJECT = 0, 1, 2, 3
_NULL, _UNDEFINED, _ECMA_ARRAY, _OBJECT_END, _STRICT_ARRAY, _DATE, _LONG_STRING = (
    5,
    6,
    8,
    9,
    10,
    11,
    12,
)
_END: Final = b"\x00\x00\x09"


def bad_amf(detail: str) -> BadRequestError:
    """The error for a value that is none."""
    return BadRequestError(detail, code="bad_amf")


def decode(data: bytes) -> list[Value]:
    """All values of a message. Raises BadRequestError for one that ends too early, is of a kind
    that publishers do not send, nested deeper than `AMF_DEPTH_MAX`, or one too many."""
    reader = _Reader(data)
    values = []
    while reader.at < len(data):
        values.append(reader.value(0))
    return values


def encode(*values: Value) -> bytes:
    """Values as a message."""
    return b"".join(map(_encoded, values))


def _encoded(value: Value) -> bytes:
    if isinstance(value, bool):
        return bytes((_BOOLEAN, value))
    if isinstance(value, float | int):
        return bytes((_NUMBER,)) + struct.pack(">d", value)
    if isinstance(value, str):
        return bytes((_STRING,)) + _name(value)
    if isinstance(value, dict):
        fields = b"".join(_name(name) + _encoded(field) for name, field in value.items())
        return bytes((_OBJECT,)) + fields + _END
    if isinstance(value, list):
        return bytes((_STRICT_ARRAY,)) + struct.pack(">I", len(value)) + encode(*value)
    return bytes((_NULL,))


def _name(text: str) -> bytes:
    data = text.encode()[:0xFFFF]
    return len(data).to_bytes(2, "big") + data


class _Reader:
    """A position in a message."""

    __slots__ = ("_data", "_items", "at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._items = 0
        self.at = 0

    def value(self, depth: int) -> Value:
        self._items += 1
        if depth > bounds.AMF_DEPTH_MAX or self._items > bounds.AMF_ITEMS_MAX:
            raise bad_amf("an AMF message nested too deeply, or of too many values")
        kind = self._take(1)[0]
        if kind == _NUMBER:
            number: float = struct.unpack(">d", self._take(8))[0]
            return number
        if kind == _BOOLEAN:
            return self._take(1) != b"\0"
        if kind in (_STRING, _LONG_STRING):
            return self._text(2 if kind == _STRING else 4)
        if kind in (_NULL, _UNDEFINED):
            return None
        if kind == _DATE:
            milliseconds: float = struct.unpack(">d", self._take(10)[:8])[0]
            return milliseconds
        if kind == _STRICT_ARRAY:
            count = int.from_bytes(self._take(4), "big")
            if count > bounds.AMF_ITEMS_MAX:
                raise bad_amf("an AMF array of too many values")
            return [self.value(depth + 1) for _ in range(count)]
        if kind == _ECMA_ARRAY:
            self._take(4)  # A count that encoders do not keep to.
        elif kind != _OBJECT:
            raise bad_amf(f"AMF0 value of kind {kind}")
        return self._fields(depth)

    def _fields(self, depth: int) -> dict[str, Value]:
        fields: dict[str, Value] = {}
        while self._data[self.at : self.at + 3] != _END:
            name = self._text(2)
            fields[name] = self.value(depth + 1)
        self.at += 3
        return fields

    def _text(self, length_bytes: int) -> str:
        length = int.from_bytes(self._take(length_bytes), "big")
        return self._take(length).decode(errors="replace")

    def _take(self, count: int) -> bytes:
        taken = self._data[self.at : self.at + count]
        if len(taken) < count:
            raise bad_amf("an AMF message ends too early")
        self.at += count
        return taken
