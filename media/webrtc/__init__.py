"""WebRTC sessions: publishers and viewers whose packets are forwarded, never decoded."""
