"""Recorded rooms: reading them, fitting their two clocks, turning them into rooms of ours."""
