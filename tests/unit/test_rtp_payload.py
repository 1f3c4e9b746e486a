"""Access units cut into packets are put together again as they were."""

from hypothesis import given
from hypothesis import strategies as st

from media.hls.avc import split_annex_b
from media.rtp.depayload import START_CODE, FrameAssembler, is_key_start
from media.rtp.payload import PAYLOAD_BYTES_MAX, h264_payloads, h264_profile
from tests.unit.encoded import h264

_BODIES = st.tuples(st.binary(min_size=1, max_size=20), st.integers(0, 200)).map(
    lambda made: (made[0] * made[1]).replace(b"\0", b"\1") + b"\x80"
)


def annex_b(units: list[bytes]) -> bytes:
    return b"".join(START_CODE + unit for unit in units)


@given(st.lists(st.tuples(st.sampled_from([1, 6]), _BODIES), min_size=1, max_size=8))
def test_any_units_survive_the_way_through_packets(parts: list[tuple[int, bytes]]) -> None:
    units = [bytes((0x60 | kind,)) + body for kind, body in [*parts, (1, b"\x80")]]
    payloads = h264_payloads(annex_b(units))
    assert max(map(len, payloads)) <= PAYLOAD_BYTES_MAX
    assembled = FrameAssembler("h264").assemble(payloads)
    assert assembled is not None
    assert split_annex_b(assembled[0]) == units


def test_a_unit_at_the_bound_goes_whole_and_one_byte_more_in_fragments() -> None:
    for size, packets in ((PAYLOAD_BYTES_MAX, 1), (PAYLOAD_BYTES_MAX + 1, 2), (3_000, 3)):
        unit = b"\x41" + b"\x80" * (size - 1)
        payloads = h264_payloads(annex_b([unit]))
        assert len(payloads) == packets
        assembled = FrameAssembler("h264").assemble(payloads)
        assert assembled is not None and split_annex_b(assembled[0]) == [unit]


def test_an_encoders_frames_survive_and_key_frames_are_seen() -> None:
    assembler = FrameAssembler("h264")
    for _, _, is_key, data in h264(60, size=(640, 360)):
        payloads = h264_payloads(data)
        assert is_key_start("h264", payloads[0]) == is_key
        assembled = assembler.assemble(payloads)
        assert assembled is not None and assembled[1] == is_key
        kept = [unit for unit in split_annex_b(data) if unit[0] & 31 != 9]
        assert split_annex_b(assembled[0]) == kept


@given(st.binary(max_size=200))
def test_what_is_no_access_unit_makes_no_packets_that_are_too_long(data: bytes) -> None:
    for payload in h264_payloads(data):
        assert 0 < len(payload) <= PAYLOAD_BYTES_MAX


def test_the_profile_is_that_of_the_parameter_set() -> None:
    key = h264(1)[0][3]
    [sps] = [unit for unit in split_annex_b(key) if unit[0] & 31 == 7]
    assert h264_profile(key) == sps[1:3].hex()
    assert h264_profile(b"\0\0\1\x41abc") == ""
