"""Is it alive, is it of use, and how is it doing."""

from collections.abc import Mapping

import msgspec
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from engagement.gateway.runtime import gateway_of

router = APIRouter(tags=["probes"])


@router.get("/livez")
async def livez() -> Response:
    """200 while the process answers at all."""
    return _json(200, {"status": "ok"})


@router.get("/readyz", responses={503: {"description": "Not of use; `failed` names why."}})
async def readyz(request: Request) -> Response:
    """200 when requests are taken and fan-out runs; otherwise 503, naming the failed checks.

    The database is not among them: without it rooms go on live, only reads answer 503.
    """
    gateway = gateway_of(request)
    checks = gateway.checks()
    failed = [name for name, good in checks.items() if not good]
    told = {name: "ok" if good else "failed" for name, good in checks.items()}
    status = "failed" if failed else "ok"
    body = {"status": status, "gateway": gateway.id, "checks": told, "failed": failed}
    return _json(503 if failed else 200, body)


@router.get("/metrics")
async def read_metrics(request: Request) -> Response:
    """Prometheus text format."""
    gateway_of(request).measure()
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


def _json(status: int, body: Mapping[str, object]) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
