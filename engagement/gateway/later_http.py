"""Parts of the contract that a later version decides: they exist, and say so."""

from fastapi import APIRouter
from starlette.responses import Response

from engagement.errors import NotYetAvailableError
from engagement.gateway import openapi

router = APIRouter(prefix="/v1", tags=["later"])

_LATER = (
    ("PUT", "/battles/{battle}"),
    ("GET", "/battles/{battle}"),
    ("POST", "/battles/{battle}/accept"),
    ("POST", "/battles/{battle}/decline"),
    ("POST", "/battles/{battle}/cancel"),
    ("POST", "/accounts/{account}/deposits"),
    ("GET", "/accounts/{account}"),
)


@router.get("/gifts", **openapi.LIST_GIFTS)
async def list_gifts() -> Response:
    """The catalogue: nothing is sold yet."""
    return Response(b'{"items":[],"next":null}', media_type="application/json")


async def _not_yet() -> Response:
    """Not in this version."""
    raise NotYetAvailableError("battles, wallets and gifts arrive with a later version")


for _method, _path in _LATER:
    router.add_api_route(_path, _not_yet, methods=[_method], **openapi.LATER)
