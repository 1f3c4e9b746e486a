"""Janus, an external WebRTC server, as a media engine."""
