"""The gateway: HTTP and WebSocket in front of the log."""
