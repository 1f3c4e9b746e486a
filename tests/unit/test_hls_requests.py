"""Whatever is asked of the HLS routes, they answer, and the room goes on as it was."""

import asyncio
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.hls import bounds
from tests.unit.test_hls_http import INDEX, four_seconds, viewing

ANSWERS = {200, 304, 400, 404, 405, 406, 422, 503}
_NUMBERS = st.one_of(
    st.integers(-5, 20).map(str),
    st.integers().map(str),
    st.sampled_from(["", "1e3", "NaN", "0x1", "١", "1.0", "9" * 400]),
    st.text(max_size=10),
)
_QUERIES = st.dictionaries(
    st.sampled_from(["_HLS_msn", "_HLS_part", "_HLS_skip", "token", "_hls_msn"]), _NUMBERS
)
_NAMES = st.one_of(
    st.sampled_from(
        ["index.m3u8", "init-0.mp4", "init-.mp4", "0.m4s", "0.0.m4s", "-1.m4s", "..", "%00"]
    ),
    st.tuples(_NUMBERS, _NUMBERS).map(lambda n: f"{n[0]}.{n[1]}.m4s"),
    st.text(max_size=20),
)
_HEADERS = st.dictionaries(
    st.sampled_from(["accept-encoding", "range", "if-none-match"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
)


@given(st.lists(st.tuples(_NAMES, _QUERIES, _HEADERS), min_size=1, max_size=15))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_a_room(
    monkeypatch: pytest.MonkeyPatch, requests: list[tuple[str, dict[str, str], dict[str, str]]]
) -> None:
    monkeypatch.setattr(bounds, "WAIT_S", 0.001)

    async def ask() -> None:
        async with viewing() as viewer:
            viewer.feed(four_seconds())
            before = await viewer.text()
            for name, query, headers in requests:
                path = INDEX.replace("index.m3u8", quote(name, safe=""))
                answer = await viewer.http.get(path, params=query, headers=headers)
                assert answer.status_code in ANSWERS
            assert await viewer.text() == before

    asyncio.run(ask())
