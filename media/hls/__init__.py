"""HLS and low-latency HLS from encoded frames: parts, playlists, recordings. Nothing is decoded."""
