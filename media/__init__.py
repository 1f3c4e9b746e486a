"""Media processes: engines behind one port, and the clock they publish."""
