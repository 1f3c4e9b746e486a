"""MediaMTX, an external media server, as a media engine. Experimental."""
