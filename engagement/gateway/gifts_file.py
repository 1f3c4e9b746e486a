"""The catalogue file: gifts as an operator writes them down (TOML)."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.catalogue import GiftTerms
from engagement.gateway.catalogue_follower import with_animation
from engagement.settings import ConfigurationError

DEFAULT_FILE: Final = Path(__file__).parent.parent / "gifts.toml"


class _File(Struct, forbid_unknown_fields=True):
    gifts: list[GiftTerms]


def read_gifts(path: Path | None) -> list[GiftTerms]:
    """The gifts of a file, None for the one that is shipped. Raises ConfigurationError."""
    file = path or DEFAULT_FILE
    try:
        gifts = msgspec.convert(tomllib.loads(file.read_text()), _File).gifts
    except (OSError, ValueError) as error:  # Both decoders' errors are ValueErrors.
        raise ConfigurationError(f"the gift catalogue {file} cannot be used: {error}") from error
    if len(gifts) > limits.GIFTS_IN_CATALOGUE_MAX:
        raise ConfigurationError(f"{file} has more than {limits.GIFTS_IN_CATALOGUE_MAX} gifts")
    names = Counter(terms.gift for terms in gifts)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ConfigurationError(f"{file} describes {', '.join(twice)} twice")
    for terms in gifts:
        if "\x00" in terms.name or "\x00" in terms.animation:
            raise ConfigurationError(f"{file}: NUL is not text ({terms.gift})")
    return [with_animation(terms) for terms in gifts]
