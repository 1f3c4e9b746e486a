"""Joins and leaves of sockets are written until the log has them."""

import asyncio

import pytest

from engagement.domain.envelope import Accepted
from engagement.gateway import presence
from engagement.gateway.envelopes import EnvelopeWriter
from engagement.gateway.flushes import Grid
from engagement.gateway.presence import Attendance, Presence
from tests.unit.gateway_parts import FakeClocks, FakeLog
from tests.waiting import until

ANA = Attendance("g/1", "kitchen", "ana", "viewer")


class Door:
    """Presence with its log."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.log = FakeLog()
        self.envelopes = EnvelopeWriter(self.log, FakeClocks(), Grid(0.001, loop), gateway="g")
        self.presence = Presence(self.envelopes, gateway="g", partitions=4, loop=loop)

    def asked(self) -> list[Accepted]:
        self.envelopes.flush()
        return [each for envelope in self.log.envelopes for each in envelope.requests]

    def kinds(self) -> list[str]:
        return [str(each.request.__struct_config__.tag) for each in self.asked()]


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setattr(presence, "_RETRY_S", 0.01)
    return Door()


async def test_joining_and_leaving_name_the_socket(door: Door) -> None:
    door.presence.join(ANA)
    door.presence.leave(ANA)
    assert door.kinds() == ["room.join", "room.leave"]
    assert {(each.room, each.actor, each.session) for each in door.asked()} == {
        ("kitchen", "ana", "g/1")
    }


async def test_leaving_twice_is_leaving_once(door: Door) -> None:
    door.presence.join(ANA)
    door.presence.leave(ANA)
    door.presence.leave(ANA)
    assert door.kinds() == ["room.join", "room.leave"]


async def test_a_join_that_the_log_did_not_take_is_written_again(door: Door) -> None:
    door.presence.join(ANA)
    door.asked()
    door.log.fail()

    async def again() -> bool:
        return door.kinds() == ["room.join", "room.join"]

    await until(again)


async def test_a_join_is_not_repeated_for_a_socket_that_has_gone(door: Door) -> None:
    door.presence.join(ANA)
    door.asked()
    door.presence.leave(ANA)
    door.asked()
    door.log.fail()

    async def left_again() -> bool:
        return door.kinds().count("room.leave") == 2

    await until(left_again)
    assert door.kinds().count("room.join") == 1


async def test_leases_are_renewed_in_every_partition(door: Door) -> None:
    door.presence.renew()
    door.envelopes.flush()
    assert sorted(partition for partition, _ in door.log.records) == [0, 1, 2, 3]
    assert door.kinds() == ["lease.renew"] * 4
    assert {each.room for each in door.asked()} == {""}
