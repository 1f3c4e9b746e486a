"""Ports: free, taken, and the probe that must not answer itself."""

import socket
import threading

import pytest

from engagement.errors import ConflictError
from engagement.ports import answers, dialled, is_free, require_free


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_port_with_a_listener_is_not_free_and_answers(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert not is_free(port)
    assert not is_free(port, "0.0.0.0")
    assert answers(port)
    listener.close()
    assert is_free(port)
    assert not answers(port)


def test_a_port_that_stays_taken_is_refused_with_the_setting_that_changes_it(
    listener: socket.socket,
) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(ConflictError, match="ENGAGEMENT_PORT") as refused:
        require_free(port, "the gateway", "ENGAGEMENT_PORT", within_s=0)
    assert refused.value.code == "port_in_use"
    listener.close()


def test_a_port_that_becomes_free_in_time_is_taken(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    threading.Timer(0.1, listener.close).start()
    require_free(port, "the gateway", "ENGAGEMENT_PORT", within_s=10)


def test_a_probe_that_meets_itself_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an ephemeral port TCP may connect a socket to itself, and readiness looked fine."""
    itself = socket.socket()
    itself.bind(("127.0.0.1", 0))
    itself.connect(itself.getsockname())
    monkeypatch.setattr(socket, "create_connection", lambda *_: itself)
    assert not answers(itself.getsockname()[1])


@pytest.mark.parametrize(
    ("listens_on", "url_part"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("h.org", "h.org")],
)
def test_a_server_is_dialled_where_it_can_be_reached(listens_on: str, url_part: str) -> None:
    assert dialled(listens_on) == url_part
