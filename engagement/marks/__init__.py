"""Gifts and battles as marks in the video itself: a follower of the room topic tells media."""
