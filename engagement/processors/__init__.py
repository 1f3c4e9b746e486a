"""Stream processors: Faust hosts them, the domain decides."""
