"""AsyncAPI 3.0 of the Kafka topics and the WebSocket, generated from the code.

Shapes come from the msgspec structs that encode and decode them, so the document cannot say
anything else than the program does.
"""

from typing import Any

import msgspec

from engagement import __version__
from engagement.domain import events
from engagement.domain.events import DATA_OF_TYPE, SCHEMA_OF_TYPE, TOPIC_OF_TYPE
from engagement.log.topics import TOPICS, Topic
from engagement.specs import frames

_REF = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """The whole AsyncAPI document."""
    schemas = _schemas()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "live-engagement",
            "version": __version__,
            "description": "Facts on Kafka, and the WebSocket of a room.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": "127.0.0.1:19092", "protocol": "kafka"},
            "gateway": {"host": "127.0.0.1:8080", "protocol": "ws"},
        },
        "channels": {
            **{topic.name: _topic_channel(topic) for topic in _public_topics()},
            "live": _socket_channel(),
        },
        "operations": {**_topic_operations(), **_socket_operations()},
        "components": {
            "messages": {**_fact_messages(), **_frame_messages()},
            "schemas": schemas,
        },
    }


def _public_topics() -> list[Topic]:
    facts = set(TOPIC_OF_TYPE.values())
    return [topic for topic in TOPICS if topic.name in facts]


def _types_of(topic: Topic) -> list[str]:
    return [kind for kind, name in TOPIC_OF_TYPE.items() if name == topic.name]


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(part.replace("/", "~1") for part in path)}


def _topic_channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"{topic.holds}. Record key: {topic.key}.",
        "servers": [_ref("servers", "kafka")],
        "messages": {kind: _ref("components", "messages", kind) for kind in _types_of(topic)},
        "bindings": {"kafka": {"topic": topic.name, "bindingVersion": "0.5.0"}},
    }


def _socket_channel() -> dict[str, Any]:
    return {
        "address": "/v1/rooms/{room}/live",
        "description": "Subprotocol engagement.v1; JSON text frames, one object each.",
        "servers": [_ref("servers", "gateway")],
        "parameters": {"room": {"description": "Room id."}},
        "messages": {
            name: _ref("components", "messages", name)
            for name in (*_frame_names(frames.ServerFrame), *_frame_names(frames.ClientFrame))
        },
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {"type": "object", "properties": {"cursor": {"type": "string"}}},
                "bindingVersion": "0.1.0",
            }
        },
    }


def _topic_operations() -> dict[str, Any]:
    return {
        "consume-" + topic.name.replace(".", "-"): {
            "action": "send",
            "channel": _ref("channels", topic.name),
            "summary": f"We write, any Kafka client reads: {topic.holds}.",
        }
        for topic in _public_topics()
    }


def _socket_operations() -> dict[str, Any]:
    channel = _ref("channels", "live")

    def messages(union: Any) -> list[dict[str, str]]:
        return [_ref("channels", "live", "messages", name) for name in _frame_names(union)]

    return {
        "live-to-viewer": {
            "action": "send",
            "channel": channel,
            "messages": messages(frames.ServerFrame),
        },
        "live-from-viewer": {
            "action": "receive",
            "channel": channel,
            "messages": messages(frames.ClientFrame),
        },
    }


def _frame_names(union: Any) -> list[str]:
    return [struct.__name__ for struct in union.__args__]


def _frame_messages() -> dict[str, Any]:
    return {
        struct.__name__: {
            "name": struct.__struct_config__.tag,
            "summary": _first_line(struct),
            "payload": {"$ref": _REF.format(name=struct.__name__)},
        }
        for union in (frames.ServerFrame, frames.ClientFrame)
        for struct in union.__args__
    }


def _fact_messages() -> dict[str, Any]:
    return {
        kind: {
            "name": kind,
            "contentType": "application/cloudevents+json",
            "summary": _first_line(data),
            "payload": {
                "allOf": [
                    {"$ref": _REF.format(name="Fact")},
                    {
                        "type": "object",
                        "properties": {
                            "type": {"const": kind},
                            "dataschema": {"const": SCHEMA_OF_TYPE[kind]},
                            "data": {"$ref": _REF.format(name=data.__name__)},
                        },
                    },
                ]
            },
        }
        for kind, data in DATA_OF_TYPE.items()
    }


def _schemas() -> dict[str, Any]:
    structs = [
        events.Fact,
        *dict.fromkeys(DATA_OF_TYPE.values()),
        *frames.ServerFrame.__args__,
        *frames.ClientFrame.__args__,
    ]
    _, components = msgspec.json.schema_components(structs, ref_template=_REF)
    return {name: _asyncapi_dialect(schema) for name, schema in sorted(components.items())}


def _asyncapi_dialect(schema: Any) -> Any:
    """OpenAPI's `discriminator` is an object; AsyncAPI's is the name of the property."""
    if isinstance(schema, dict):
        return {
            key: value["propertyName"]
            if key == "discriminator" and isinstance(value, dict)
            else _asyncapi_dialect(value)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_asyncapi_dialect(item) for item in schema]
    return schema


def _first_line(struct: type[msgspec.Struct]) -> str:
    return (struct.__doc__ or "").strip().partition("\n")[0]
