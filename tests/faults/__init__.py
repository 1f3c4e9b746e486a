"""The fault run: load, kills, a history, and a checker that judges it afterwards.

``python -m tests.faults`` runs everything; ``python -m tests.faults.checker DIR`` judges a run
again from its files alone.
"""
