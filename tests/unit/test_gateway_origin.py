"""Origins: exact, and no clever spelling gets past."""

import pytest

from engagement.gateway.origin import Origins

LIVE = "https://live.example.com"
HOST = "gw.example.com:8443"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("", True),
        (LIVE, True),
        ("https://gw.example.com:8443", True),
        ("http://gw.example.com:8443", True),
        ("null", False),
        ("https://example.com", False),
        ("https://evil.com", False),
        ("http://live.example.com", False),
        ("https://live.example.com:444", False),
        ("https://live.example.com:443", False),
        ("https://live.example.com/", False),
        ("https://live.example.com.evil.com", False),
        ("https://evil-live.example.com", False),
        ("https://evil.com/live.example.com", False),
        ("https://evil.com?live.example.com", False),
        ("https://live.example.com@evil.com", False),
        ("https://LIVE.example.com", False),
        ("HTTPS://live.example.com", False),
        ("https://livexexample.com", False),
        ("https://live.example.com\n", False),
        (" https://live.example.com", False),
        ("https://xn--lve-6pa.example.com", False),
        ("https://lіve.example.com", False),
        ("https://gw.example.com", False),
        ("https://gw.example.com:8444", False),
        ("wss://gw.example.com:8443", False),
        ("file://", False),
        ("*", False),
    ],
)
def test_only_listed_origins_and_our_own_are_allowed(origin: str | None, allowed: bool) -> None:
    assert Origins([LIVE], loopback_only=False).allows(origin, HOST) is allowed


def test_an_empty_list_still_allows_our_own_pages_and_no_others() -> None:
    origins = Origins([], loopback_only=False)
    assert origins.allows(f"https://{HOST}", HOST)
    assert not origins.allows(LIVE, HOST)
    assert not origins.allows(LIVE, None)


def test_a_star_allows_everybody() -> None:
    assert Origins(["*"], loopback_only=False).allows("https://evil.com", HOST)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost"])
def test_in_dev_mode_our_own_pages_are_on_loopback(host: str) -> None:
    assert Origins([], loopback_only=True).allows(f"http://{host}", host)


@pytest.mark.parametrize("host", ["evil.com:8080", "127.0.0.1.evil.com", "localhost.evil.com:80"])
def test_a_name_that_was_rebound_to_this_machine_is_not_ours(host: str) -> None:
    assert not Origins([], loopback_only=True).allows(f"http://{host}", host)
