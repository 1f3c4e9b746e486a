"""Names, ids, the word list and the window of ids."""

import pytest

from engagement.domain.moderation import ALLOWED, WordList
from engagement.domain.names import derived_id, is_actor_id, is_room_id
from engagement.domain.seen_ids import SeenIds


@pytest.mark.parametrize("name", ["a", "Room-1", "0.~_", "x" * 64])
def test_names_of_rooms(name: str) -> None:
    assert is_room_id(name)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "ü", "x" * 65, "a\n", "\na", "a|0|1"])
def test_what_is_no_name_of_a_room(name: str) -> None:
    assert not is_room_id(name)


@pytest.mark.parametrize("name", ["u", "a@b.example", "auth0|77", "=+:~_-", "x" * 128])
def test_names_of_people(name: str) -> None:
    assert is_actor_id(name)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 129, "a\n", "\0"])
def test_what_is_no_name_of_a_person(name: str) -> None:
    assert not is_actor_id(name)


def test_derived_ids_depend_on_all_they_are_about_and_on_nothing_else() -> None:
    assert derived_id("room", "kind", 1) == derived_id("room", "kind", 1)
    assert derived_id("room", "kind", 1) != derived_id("room", "kind", 2)
    assert derived_id("ab", "c") != derived_id("a", "bc")


def test_deny_wins_over_hold_and_only_whole_words_count() -> None:
    words = WordList(deny=["scam"], hold=["scam", "sus"])
    assert words.judge("a SCAM!").verdict == "deny"
    assert words.judge("sus").verdict == "hold"
    assert words.judge("scampi, suspense") == ALLOWED


def test_zero_width_characters_do_not_hide_a_word() -> None:
    assert WordList(deny=["scam"]).judge("sc\u200bam").verdict == "deny"
    assert WordList(hold=["scam"]).judge("s\ufeffcam").verdict == "hold"


def test_an_empty_list_allows_everything() -> None:
    assert WordList(deny=["", " "]).judge("anything") == ALLOWED


def test_the_newest_ids_are_remembered_and_the_old_ones_forgotten() -> None:
    seen: SeenIds[str] = SeenIds(3)
    for number in range(7):
        seen.add(str(number), "v")
    assert [number for number in range(7) if seen.get(str(number))] == [3, 4, 5, 6]
    assert len(seen) == 4
    seen.discard("6")
    seen.discard("3")
    seen.discard("never")
    assert [number for number in range(7) if seen.get(str(number))] == [4, 5]
