"""The engagement half of a live-streaming platform: facts, decisions and the live side."""

__version__ = "0.1.0"
