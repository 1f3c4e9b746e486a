"""Whether events are released on the frame that they belong to, measured from the screen's pixels.

`python -m tests.sync`; see `tests/sync/__main__.py`.
"""
