"""The place where two things that should be equal are not."""

from collections.abc import Iterable

from msgspec import Struct


class Difference(Struct, frozen=True):
    """Something that does not follow from the requests, or is missing."""

    where: str
    """A table or a topic."""
    partition: int
    offset: int
    """Of the request in `live.gift-requests.v1` that it follows from, or should follow from; of
    the record itself in a topic when it follows from none; -1 for a row that follows from none."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}, partition {self.partition}, offset {self.offset}: {self.what}"


def first(differences: Iterable[Difference | None]) -> Difference | None:
    """The one that comes first on the log; what has no place there comes last."""
    found = [difference for difference in differences if difference is not None]
    if not found:
        return None
    return min(found, key=lambda each: (each.offset < 0, each.offset))
