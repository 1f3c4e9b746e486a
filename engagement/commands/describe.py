"""`engagement openapi` and `engagement asyncapi`: the generated descriptions, as committed."""

import json
from typing import Any

from engagement.settings import Settings


def openapi() -> str:
    """The OpenAPI document of the gateway."""
    from engagement.gateway.app import create_app

    # The document does not depend on settings; these let the application be made anywhere.
    settings = Settings(auth="dev", host="127.0.0.1")  # type: ignore[call-arg]
    return _text(create_app(settings).openapi())


def asyncapi() -> str:
    """The AsyncAPI document of topics and WebSocket."""
    from engagement.specs.asyncapi import document

    return _text(document())


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=False)
