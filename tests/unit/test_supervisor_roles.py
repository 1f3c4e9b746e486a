"""Which processes `engagement up` starts, and in which order it ends them."""

from engagement.settings import Settings
from engagement.supervisor import STOP_ORDER, Role, gateway_ports, roles


def test_every_worker_has_its_own_id_and_every_gateway_its_own_port() -> None:
    found = roles(Settings(workers=3, gateways=2, port=8080, media_port=8090))
    ids = [r.environment["ENGAGEMENT_WORKER_ID"] for r in found if r.command == "worker"]
    ports = [r.environment["ENGAGEMENT_PORT"] for r in found if r.command == "gateway"]
    assert ids == ["0", "1", "2"]
    assert ports == ["8080", "8081"]
    assert len({role.name for role in found}) == len(found)


def test_gateways_leave_out_the_port_of_media() -> None:
    assert gateway_ports(Settings(gateways=3, port=8080, media_port=8081)) == [8080, 8082, 8083]


def test_every_process_has_its_place_in_the_order_of_ending() -> None:
    demo = (Role("demo-crowd", "demo-crowd"), Role("publisher", "demo-video"))
    commands = {role.command for role in roles(Settings(), extra=demo)}
    assert commands | {"engine"} == {command for stage in STOP_ORDER for command in stage}
