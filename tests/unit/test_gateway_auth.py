"""Tokens: the good ones name a principal, and none of a corpus of bad ones does."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engagement.domain import limits
from engagement.errors import UnauthorizedError, UnavailableError
from engagement.gateway.auth import Authenticator
from engagement.key_set import KeySet
from engagement.settings import ConfigurationError, Settings
from engagement.tokens import Principal

SECRET = "a secret of more than thirty-two bytes"
ED_KEY = ed25519.Ed25519PrivateKey.generate()
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = ed25519.Ed25519PrivateKey.generate()


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    all_claims = {"sub": "ana", "aud": "engagement", "iat": now, "exp": now + 60, **changed}
    return {name: value for name, value in all_claims.items() if value is not None}


def hs256(secret: str = SECRET, headers: dict[str, Any] | None = None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), secret, "HS256", headers=headers)


def ed25519_token(kid: str | None = "ed", key: Any = ED_KEY, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, "EdDSA", headers={"kid": kid} if kid else None)


def by_hand(header: dict[str, Any], payload: Any, sign: Callable[[bytes], bytes]) -> str:
    """A token as no library would make it."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, payload)]
    signed = b".".join(part.rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(sign(signed)).rstrip(b"=")
    return (signed + b"." + signature).decode()


def signed_with_the_public_key() -> str:
    """The classic: an RSA public key, which everybody has, taken for an HMAC secret."""
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    return by_hand(header, claims(), lambda data: hmac.digest(public, data, hashlib.sha256))


def jwk(key: Any, algorithm: Any, **more: Any) -> dict[str, Any]:
    return {**json.loads(algorithm.to_jwk(key.public_key())), **more}


def published_keys() -> dict[str, Any]:
    algorithms = jwt.algorithms
    return {
        "keys": [
            jwk(ED_KEY, algorithms.OKPAlgorithm, kid="ed", alg="EdDSA"),
            jwk(RSA_KEY, algorithms.RSAAlgorithm, kid="rsa", alg="RS256"),
            jwk(WEAK_RSA_KEY, algorithms.RSAAlgorithm, kid="weak", alg="RS256"),
            jwk(EC_KEY, algorithms.ECAlgorithm, kid="ec", alg="ES256"),
            {"kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtMzI"},
        ]
    }


class Issuer:
    """An issuer that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(
            200, json=published_keys()
        )

    def keys(self) -> KeySet:
        return KeySet("https://issuer.example/jwks", httpx.MockTransport(self._handle))

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return self.answer()


def authenticator(issuer: Issuer | None = None, **changed: Any) -> Authenticator:
    settings = Settings(**{"auth": "jwt", "jwt_secret": SECRET, **changed})
    return Authenticator(settings, issuer.keys() if issuer else None)


async def test_a_token_names_a_principal_until_it_ends() -> None:
    token = hs256(role="moderator")
    principal = await authenticator().by_token(token)
    assert (principal.id, principal.role) == ("ana", "moderator")
    assert principal.expires_s == pytest.approx(time.time() + 60, abs=2)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(ED_KEY, "EdDSA", "ed"), (RSA_KEY, "RS256", "rsa"), (EC_KEY, "ES256", "ec")],
)
async def test_a_key_of_the_issuer_verifies_with_its_own_algorithm(
    key: Any, algorithm: str, kid: str
) -> None:
    token = jwt.encode(claims(), key, algorithm, headers={"kid": kid})
    assert (await authenticator(Issuer()).by_token(token)).id == "ana"


now = int(time.time())
BAD_TOKENS: dict[str, str] = {
    "empty": "",
    "a word": "token",
    "two parts": "a.b",
    "four parts": "a.b.c.d",
    "only dots": "..",
    "not base64": "!!!.???.***",
    "header is no JSON": "bm9wZQ.bm9wZQ.bm9wZQ",
    "NUL": "\x00.\x00.\x00",
    "not ASCII": "ü.ü.ü",
    "lone surrogate": "\ud800.a.b",
    "too long": hs256(pad="x" * limits.TOKEN_CHARS_MAX),
    "alg none": by_hand({"alg": "none", "typ": "JWT"}, claims(), lambda _: b""),
    "alg None": by_hand({"alg": "None"}, claims(), lambda _: b""),
    "alg nOnE with kid": by_hand({"alg": "nOnE", "kid": "ed"}, claims(), lambda _: b""),
    "no alg": by_hand({"typ": "JWT"}, claims(), lambda _: b""),
    "alg is a number": by_hand({"alg": 256}, claims(), lambda _: b""),
    "alg is a list": by_hand({"alg": ["HS256"]}, claims(), lambda _: b""),
    "no signature": hs256().rpartition(".")[0] + ".",
    "signature cut": hs256()[:-4],
    "payload changed": hs256().replace(".ey", ".eY"),
    "other secret": hs256("another secret of more than 32 bytes"),
    "empty secret": by_hand(
        {"alg": "HS256"}, claims(), lambda data: hmac.digest(b"", data, hashlib.sha256)
    ),
    "HS384": jwt.encode(claims(), SECRET + "x" * 20, "HS384"),
    "HS512 with our secret": jwt.encode(claims(), SECRET + "x" * 40, "HS512"),
    "RSA public key as HMAC secret": signed_with_the_public_key(),
    "expired": hs256(exp=now - 60),
    "expired beyond leeway": hs256(exp=now - limits.TOKEN_LEEWAY_S - 5),
    "no exp": hs256(exp=None),
    "exp is a word": hs256(exp="tomorrow"),
    "no iat": hs256(iat=None),
    "issued in the future": hs256(iat=now + 3600, exp=now + 7200),
    "not yet valid": hs256(nbf=now + 3600),
    "no sub": hs256(sub=None),
    "sub empty": hs256(sub=""),
    "sub with a space": hs256(sub="an a"),
    "sub with a line break": hs256(sub="ana\n"),
    "sub too long": hs256(sub="a" * 129),
    "sub with markup": hs256(sub="<b>ana</b>"),
    "no aud": hs256(aud=None),
    "other aud": hs256(aud="billing"),
    "aud list without us": hs256(aud=["a", "b"]),
    "unknown role": hs256(role="root"),
    "role is a list": hs256(role=["admin"]),
    "role is null": by_hand(
        {"alg": "HS256"},
        {**claims(), "role": None},
        lambda data: hmac.digest(SECRET.encode(), data, hashlib.sha256),
    ),
    "payload is a list": by_hand(
        {"alg": "HS256"}, [1], lambda data: hmac.digest(SECRET.encode(), data, hashlib.sha256)
    ),
    "critical header": hs256(headers={"crit": ["exp2"], "exp2": 1}),
    "EdDSA without kid": ed25519_token(kid=None),
    "EdDSA unknown kid": ed25519_token(kid="nobody"),
    "kid is a path": ed25519_token(kid="../../etc/passwd"),
    "kid is SQL": ed25519_token(kid="' or 1=1 --"),
    "kid is a number": by_hand({"alg": "EdDSA", "kid": 1}, claims(), ED_KEY.sign),
    "kid of another key": ed25519_token(kid="rsa"),
    "kid of a shared secret": by_hand(
        {"alg": "HS256", "kid": "oct"},
        claims(),
        lambda data: hmac.digest(b"secret-secret-secret-32", data, hashlib.sha256),
    ),
    "signed by a stranger": ed25519_token(key=STRANGER),
    "weak RSA key": jwt.encode(claims(), WEAK_RSA_KEY, "RS256", headers={"kid": "weak"}),
    "PS256 with an RS256 key": jwt.encode(claims(), RSA_KEY, "PS256", headers={"kid": "rsa"}),
    "RS512 with an RS256 key": jwt.encode(claims(), RSA_KEY, "RS512", headers={"kid": "rsa"}),
    "embedded key": jwt.encode(
        claims(),
        STRANGER,
        "EdDSA",
        headers={"jwk": jwk(STRANGER, jwt.algorithms.OKPAlgorithm)},
    ),
    "key by URL": jwt.encode(
        claims(), STRANGER, "EdDSA", headers={"jku": "https://evil.example/jwks", "kid": "x"}
    ),
    "dev token": "dev:ana:admin",
}


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_a_bad_token_names_nobody(token: str) -> None:
    auth = authenticator(Issuer())
    for _ in range(2):  # A cache must not make it good.
        with pytest.raises(UnauthorizedError) as refused:
            await auth.by_token(token)
        assert len(token) < 20 or token not in refused.value.detail


async def test_a_symmetric_key_in_a_public_set_verifies_nothing() -> None:
    # The value of the key "oct" above: whoever can read the set knows it.
    shared = base64.urlsafe_b64decode("c2VjcmV0LXNlY3JldC1zZWNyZXQtMzI=")
    header = {"alg": "HS256", "kid": "oct"}
    forged = by_hand(header, claims(), lambda data: hmac.digest(shared, data, hashlib.sha256))
    with pytest.raises(UnauthorizedError):
        await authenticator(Issuer(), jwt_secret="").by_token(forged)


async def test_a_verified_token_is_remembered_but_not_beyond_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    auth, token = authenticator(), hs256()
    first = await auth.by_token(token)
    assert await auth.by_token(token) is first
    later = time.time() + 61
    monkeypatch.setattr("engagement.gateway.auth.time.time", lambda: later)
    with pytest.raises(UnauthorizedError) as refused:
        await auth.by_token(token)
    assert refused.value.code == "token_expired"


async def test_a_token_may_end_as_late_as_it_likes() -> None:
    principal = await authenticator().by_token(hs256(exp=10**400))
    assert principal.expires_s is not None
    assert principal.expires_s > time.time() + 10**9


async def test_an_issuer_is_demanded_where_one_is_set() -> None:
    auth = authenticator(jwt_issuer="https://id.example")
    assert (await auth.by_token(hs256(iss="https://id.example"))).id == "ana"
    for wrong in (hs256(), hs256(iss="https://evil.example")):
        with pytest.raises(UnauthorizedError):
            await auth.by_token(wrong)


async def test_unknown_keys_do_not_make_us_flood_the_issuer() -> None:
    issuer = Issuer()
    auth = authenticator(issuer)
    await auth.by_token(ed25519_token())
    for number in range(50):
        with pytest.raises(UnauthorizedError):
            await auth.by_token(ed25519_token(kid=f"unknown-{number}"))
    assert issuer.asked == 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(500),
        lambda: httpx.Response(302, headers={"location": "http://169.254.169.254/"}),
        lambda: httpx.Response(200, content=b"nope"),
        lambda: httpx.Response(200, content=b"[]"),
        lambda: httpx.Response(200, content=b'{"keys":7}'),
        lambda: httpx.Response(200, content=b'{"keys":[]}'),
        lambda: httpx.Response(200, content=b" " * (limits.JWKS_BYTES_MAX + 1)),
    ],
)
async def test_an_issuer_that_does_not_answer_is_our_trouble_not_the_clients(
    answer: Callable[[], httpx.Response],
) -> None:
    issuer = Issuer()
    issuer.answer = answer
    auth = authenticator(issuer)
    with pytest.raises(UnavailableError):
        await auth.by_token(ed25519_token())
    assert auth.keys is not None
    assert auth.keys.failed
    assert (await auth.by_token(hs256())).id == "ana"


async def test_dev_mode_believes_headers_and_dev_tokens() -> None:
    auth = authenticator(auth="dev", jwt_secret="")
    assert await auth.by_headers(None, "ana", None) == Principal("ana", "viewer", None)
    assert await auth.by_headers(None, "ana", "host") == Principal("ana", "host", None)
    assert await auth.by_headers(None, None, None) is None
    assert await auth.by_token("dev:ana") == Principal("ana", "viewer", None)
    assert await auth.by_token("dev:ana:admin") == Principal("ana", "admin", None)
    assert await auth.by_token("dev:a:b") == Principal("a:b", "viewer", None)


@pytest.mark.parametrize(("user", "role"), [("", None), ("a b", None), ("ana", "root")])
async def test_dev_mode_still_wants_names_and_roles_that_exist(user: str, role: str | None) -> None:
    with pytest.raises(UnauthorizedError):
        await authenticator(auth="dev").by_headers(None, user, role)


async def test_production_refuses_the_headers_of_dev_mode() -> None:
    with pytest.raises(UnauthorizedError):
        await authenticator().by_headers(None, "ana", "admin")


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Bearer", "Bearer ", "token abc"])
async def test_an_authorization_that_is_no_bearer_token_is_refused(header: str) -> None:
    with pytest.raises(UnauthorizedError):
        await authenticator().by_headers(header, None, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"jwt_secret": ""},
        {"jwt_secret": "short"},
        {"auth": "dev", "host": "0.0.0.0"},
        {"auth": "dev", "host": "192.168.0.7"},
        {"auth": "dev", "jwt_secret": "short"},
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(changed: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        authenticator(**changed)
