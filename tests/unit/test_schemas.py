"""The committed JSON Schemas are those of the code, and say what the code says."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from engagement.commands.schemas import (
    event_schema,
    request_schema,
    request_types,
    schema_files,
    write_schemas,
)
from engagement.domain import events
from engagement.domain.gift_events import Transfer
from engagement.domain.media_time import Stamp

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "schemas"


def test_the_committed_schemas_are_those_of_the_code() -> None:
    wanted = dict(schema_files())
    present = {
        path.relative_to(COMMITTED).as_posix(): path.read_text(encoding="utf-8")
        for path in COMMITTED.rglob("*.json")
    }
    assert sorted(present) == sorted(wanted), "run: engagement schemas"
    for name, text in wanted.items():
        assert present[name] == text, f"{name} is stale; run: engagement schemas"


def test_schemas_of_types_that_are_gone_are_removed(tmp_path: Path) -> None:
    stale = tmp_path / "comment.vanished.v1.json"
    stale.write_text("{}")
    kept = tmp_path / "README.md"
    kept.write_text("")
    written = write_schemas(tmp_path)
    assert len(written) == len(events.DATA_OF_TYPE) + len(request_types())
    assert not stale.exists()
    assert kept.exists()


def sample(struct: type) -> Any:
    """A value of this struct: every required field filled."""
    values = {"str": "x", "int": 1, "float": 1.5, "bool": True}
    fields = {}
    for field in msgspec.structs.fields(struct):
        if not field.required:
            continue
        name = getattr(field.type, "__name__", str(field.type))
        if name in values:
            fields[field.name] = values[name]
        elif field.type is Transfer:
            fields[field.name] = "0-1"
        elif "list" in str(field.type):
            fields[field.name] = []
        elif "dict" in str(field.type):
            fields[field.name] = {}
        else:
            fields[field.name] = field.type.__args__[0]
    return struct(**fields)


COLLECTIONS: dict[str, Any] = {
    events.LEDGER_TOPIC: "accounts",
    events.CATALOGUE_TOPIC: "gifts",
    events.BATTLE_TOPIC: "battles",
}


def encoded(kind: str) -> dict[str, Any]:
    data, at_us = sample(events.DATA_OF_TYPE[kind]), 1_700_000_000_000_000
    collection = COLLECTIONS.get(events.TOPIC_OF_TYPE[kind])
    if collection is None:
        stamp = Stamp(1, 250, 2.5, "anchor")
        fact = events.fact(events.Decided(kind, "id-1", "room", at_us, stamp, data, "ana", "cause"))
    else:
        told = events.SubjectFact(kind, "id-1", collection, "ana", at_us, data, "ana", "cause")
        fact = events.subject_fact(told)
    made: dict[str, Any] = json.loads(msgspec.json.encode(fact))
    return made


@pytest.mark.parametrize("kind", sorted(events.DATA_OF_TYPE))
def test_an_event_as_it_is_recorded_satisfies_its_schema_and_no_other(kind: str) -> None:
    validator = jsonschema_rs.Draft202012Validator(event_schema(kind))
    event = encoded(kind)
    validator.validate(event)
    assert event["dataschema"] == event_schema(kind)["$defs"]["data"]["$id"]
    assert not validator.is_valid(event | {"type": "other.type"})
    assert not validator.is_valid(event | {"roomid": "no room/id"})
    assert not validator.is_valid({k: v for k, v in event.items() if k != "data"})
    required = next(iter(event["data"]))
    assert not validator.is_valid(event | {"data": event["data"] | {required: {"odd": 1}}})


@pytest.mark.parametrize("kind", sorted(events.DATA_OF_TYPE))
def test_additions_within_a_version_are_allowed(kind: str) -> None:
    event = encoded(kind)
    event["data"]["added"] = "later"
    assert jsonschema_rs.Draft202012Validator(event_schema(kind)).is_valid(event | {"more": 1})


def test_requests_are_as_strict_as_the_gateway() -> None:
    validator = jsonschema_rs.Draft202012Validator(request_schema("comment.post"))
    request = {
        "id": "7f1f5c9e-6f0e-4d0a-9a3e-2f4d7b6a1c11",
        "type": "comment.post",
        "data": {"text": "hi"},
    }
    assert validator.is_valid(request)
    assert not validator.is_valid(request | {"data": {"text": "x" * 501}})
    assert not validator.is_valid(request | {"data": {"text": "hi", "odd": 1}})
    assert not validator.is_valid(request | {"id": "1"})


def test_fields_carry_their_documentation() -> None:
    data = event_schema("viewers.counted")["$defs"]["data"]
    assert "never decreasing" in data["properties"]["window"]["description"]
