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
)


async def _not_yet() -> Response:
    """Not in this version."""
    raise NotYetAvailableError("battles arrive with a later version")


for _method, _path in _LATER:
    router.add_api_route(_path, _not_yet, methods=[_method], **openapi.LATER)
