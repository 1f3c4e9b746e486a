"""Crowds of clients: a recording re-enacted as load, and the synthetic crowd of the demo."""
