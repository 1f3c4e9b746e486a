"""One module per command of the ``engagement`` command line."""
