"""RTP and RTCP without I/O: packets, loss, repair, frames. Knows nothing of sockets or sessions."""
