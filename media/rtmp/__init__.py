"""RTMP in: any number of publishers on one port, each checked before its first frame is taken."""
