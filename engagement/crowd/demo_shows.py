"""The two rooms of the demo: who is live there, who watches, and what they say."""

from dataclasses import dataclass
from typing import Final


def _people(*first_names: str) -> tuple[str, ...]:
    return tuple(name + last for name in first_names for last in ("", "_92", ".live", "77"))


@dataclass(frozen=True)
class Show:
    """A room, and what it is like."""

    room: str
    host: str
    title: str
    people: tuple[str, ...]
    comments: tuple[tuple[str, str], ...]
    """Language and text."""
    answers: tuple[str, ...]


PEOPLE: Final = _people(
    "emi", "juan", "lena", "tomo", "ada", "noor", "piet", "yuki", "sol", "ivo"
)  # fmt: skip

COMMENTS: Final = (
    ("en", "that broth looks unreal"),
    ("en", "how long does it simmer?"),
    ("es", "¡qué hambre me dio!"),
    ("ja", "いただきます！"),
    ("en", "first time here, hi everyone 👋"),
    ("en", "the steam on the lens 😂"),
    ("en", "is that kombu or nori?"),
    ("fr", "c'est l'heure du dîner chez moi"),
    ("en", "she's going for the chili oil"),
    ("en", "do the egg flip again!!"),
    ("en", "watching from Lisbon 🇵🇹"),
    ("de", "das sieht so gut aus"),
    ("en", "who else is eating noodles right now"),
    ("ko", "나도 먹고 싶다"),
    ("en", "that knife is terrifyingly sharp"),
    ("en", "ratio of shoyu to mirin?"),
    ("en", "LETS GOOO"),
    ("en", "quiet chat today… nope, there it goes"),
    ("en", "adding this to my list"),
    ("ar", "شكلها لذيذة جدا"),
    ("en", "the sound of that sizzle"),
    ("en", "wait, rewind, what did she put in?"),
    ("pt", "bom demais"),
    ("en", "my cat is watching too"),
    ("hi", "क्या बात है!"),
    ("en", "3 minutes is too long for those noodles"),
    ("en", "agree to disagree on the corn"),
    ("en", "chef's kiss 👌"),
)

ANSWERS: Final = ("yes!", "about six hours, she said", "kombu", "same here", "haha", "so true")

DEMO: Final = Show("demo", "mika", "Late-night ramen with Mika", PEOPLE, COMMENTS, ANSWERS)

RIVAL: Final = Show(
    room="rival",
    host="juno",
    title="Midnight vinyl with Juno",
    people=_people("kai", "rosa", "finn", "ines", "omar", "june", "vik", "lou", "tess", "abe"),
    comments=(
        ("en", "this pressing is so warm"),
        ("en", "what's the B-side?"),
        ("en", "turn it up!!"),
        ("es", "temazo"),
        ("en", "that bassline though"),
        ("fr", "quelle ambiance"),
        ("en", "don't let the ramen room win"),
        ("de", "Gänsehaut"),
        ("en", "one more, one more"),
        ("ja", "最高"),
    ),
    answers=("yes!", "1974 I think", "same", "no way", "on repeat all week"),
)

ADVERTISEMENT: Final = "cheap followers, link in my bio"
"""What a moderator takes down. ENGAGEMENT_MODERATION_HOLD='["followers"]' holds it instead."""
