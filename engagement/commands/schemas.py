"""`engagement schemas`: one JSON Schema (draft 2020-12) per event type and per request type.

Generated from the structs of the domain; committed under `docs/schemas/`, where a test fails when
code and files differ. The schema of an event holds the whole CloudEvent. The schema of its `data`
is embedded in it under its own `$id`, which is what the event's `dataschema` names.
"""

import ast
import inspect
import itertools
import json
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, cast, get_args

import msgspec
from msgspec import Struct

from engagement.domain import events, names, requests

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VERSION: Final = 1

Schema = dict[str, Any]

_SOURCES: Final = "^/(rooms|accounts|battles|gifts)/"
_NAMED_BY: Final = {
    events.ROOM_TOPIC: "roomid",
    events.ACTIVITY_TOPIC: "roomid",
    events.CLOCK_TOPIC: "roomid",
    events.LEDGER_TOPIC: "accountid",
    events.CATALOGUE_TOPIC: "source",
    events.BATTLE_TOPIC: "battleid",
}
"""The attribute that names what an event of a topic is about."""


def event_schema(kind: str) -> Schema:
    """The schema of a whole event of this type; KeyError on an unknown type."""
    struct = events.DATA_OF_TYPE[kind]
    envelope = _schemas_of(events.Fact)["Fact"]
    data = _schemas_of(struct)
    dataschema = events.SCHEMA_OF_TYPE[kind]
    properties = {
        **envelope["properties"],
        "specversion": {"const": "1.0"},
        "type": {"const": kind},
        "source": {"type": "string", "pattern": _SOURCES, **_described(envelope, "source")},
        "time": {"type": "string", "format": "date-time", **_described(envelope, "time")},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"const": dataschema},
        "roomid": {"type": "string", "pattern": names.ROOM_ID_PATTERN},
        "data": {"$ref": dataschema},
    }
    return {
        "$schema": DIALECT,
        "$id": dataschema + ":event",
        "title": kind,
        "description": f"{_summary(struct)} Recorded in `{events.TOPIC_OF_TYPE[kind]}`.",
        "type": "object",
        "properties": properties,
        "required": sorted({*envelope["required"], _NAMED_BY[events.TOPIC_OF_TYPE[kind]]}),
        "$defs": {"data": {"$id": dataschema, **data.pop(struct.__name__), **_defs(data)}},
    }


def request_schema(kind: str) -> Schema:
    """The schema of a client's request of this type; KeyError on an unknown type."""
    struct = request_types()[kind]
    schemas = _schemas_of(struct)
    return {
        "$schema": DIALECT,
        "$id": f"{events.SCHEMA_PREFIX}request:{kind}:{VERSION}",
        **schemas.pop(struct.__name__),
        "title": kind,
        **_defs(schemas),
    }


def request_types() -> dict[str, type[Struct]]:
    """What a client may send, by type."""
    structs: tuple[type[Struct], ...] = get_args(requests.ClientRequest)
    return {str(struct.__struct_config__.tag): struct for struct in structs}


def schema_files() -> Iterator[tuple[str, str]]:
    """Every schema file: its path below the schemas directory, and its text."""
    for kind in sorted(events.DATA_OF_TYPE):
        yield f"{kind}.v{VERSION}.json", _text(event_schema(kind))
    for kind in sorted(request_types()):
        yield f"requests/{kind}.v{VERSION}.json", _text(request_schema(kind))


def write_schemas(directory: Path) -> list[Path]:
    """Write all schemas below `directory`, take away those of types that are gone."""
    written = []
    for name, text in schema_files():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    for stale in set(directory.rglob("*.v*.json")) - set(written):
        stale.unlink()
    return written


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schemas_of(struct: type[Struct]) -> dict[str, Schema]:
    """This struct's schema and those it refers to, by name, with the docstrings of the fields."""
    _, schemas = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    for name, schema in schemas.items():
        owner = getattr(events, name, None) or getattr(requests, name, None)
        if owner is None or "properties" not in schema:
            continue
        schema["description"] = _summary(owner)
        for field, text in _field_docs(owner).items():
            if field in schema["properties"]:
                schema["properties"][field].setdefault("description", text)
    return schemas


def _defs(schemas: dict[str, Schema]) -> Schema:
    return {"$defs": schemas} if schemas else {}


def _described(schema: Schema, field: str) -> Schema:
    description = schema["properties"][field].get("description")
    return {} if description is None else {"description": description}


def _summary(struct: type) -> str:
    return " ".join(inspect.cleandoc(struct.__doc__ or "").split())


@cache
def _field_docs(struct: type) -> dict[str, str]:
    """The strings that follow the fields of a class, which Python itself does not keep."""
    body = cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]).body
    docs = {}
    for field, after in itertools.pairwise(body):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                docs[name] = " ".join(text.split())
    return docs
