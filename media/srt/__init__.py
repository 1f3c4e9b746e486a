"""Publishers by SRT: MPEG-TS over the system's libsrt."""
