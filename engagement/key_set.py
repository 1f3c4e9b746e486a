"""The issuer's public keys (RFC 7517), fetched, bounded and remembered for a while."""

import asyncio
import time
from typing import Final

import httpx
import jwt

from engagement.domain import limits

ALGORITHMS: Final = frozenset({"EdDSA", "RS256", "ES256"})
"""Asymmetric, and none of them broken. A symmetric key in a public set is refused."""

RSA_BITS_MIN: Final = 2048


class KeySetError(Exception):
    """The set could not be fetched, or is none."""


class KeySet:
    """Keys by `kid`. A key that is not in the set is asked for again, at most every few seconds;
    a set that cannot be refreshed is used until it is too old."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._transport = transport
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_s = float("-inf")
        self._tried_s = float("-inf")
        self._lock = asyncio.Lock()

    @property
    def failed(self) -> bool:
        """Whether the set was asked for and there is none."""
        return not self._keys and self._tried_s > float("-inf")

    async def key(self, kid: str) -> jwt.PyJWK | None:
        """The key of this name, or None. Raises KeySetError when there is no usable set."""
        now_s = time.monotonic()
        fresh = now_s - self._fetched_s < limits.JWKS_AGE_S
        if not fresh or kid not in self._keys:
            await self._refresh(must=not fresh)
        return self._keys.get(kid)

    async def _refresh(self, *, must: bool) -> None:
        async with self._lock:
            now_s = time.monotonic()
            if now_s - self._tried_s < limits.JWKS_REFRESH_S:
                if must and now_s - self._fetched_s >= limits.JWKS_AGE_S:
                    raise KeySetError("no key set yet")
                return
            self._tried_s = now_s
            try:
                self._keys = _read(await self._fetch())
                self._fetched_s = now_s
            except (httpx.HTTPError, ValueError) as error:
                if must:
                    raise KeySetError(repr(error)) from None

    async def _fetch(self) -> bytes:
        async with (
            httpx.AsyncClient(timeout=5, follow_redirects=False, transport=self._transport) as http,
            http.stream("GET", self._url) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"status {response.status_code}")
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > limits.JWKS_BYTES_MAX:
                    raise ValueError("the key set is too large")
            return body


def _read(body: bytes) -> dict[str, jwt.PyJWK]:
    """The usable keys of a set. Raises ValueError when it is none."""
    try:
        keys = jwt.PyJWKSet.from_json(body.decode()).keys
    except (jwt.PyJWTError, AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"not a key set: {error}") from None
    usable: dict[str, jwt.PyJWK] = {}
    for key in keys[: limits.JWKS_KEYS_MAX]:
        small = getattr(key.key, "key_size", RSA_BITS_MIN) < RSA_BITS_MIN and key.key_type == "RSA"
        if key.key_id and key.algorithm_name in ALGORITHMS and not small:
            usable[key.key_id] = key
    return usable
