"""The fault run of money: gifts and battles while everything is being killed, and its judge.

``python -m tests.faults.money`` runs everything; ``python -m tests.faults.money.judge DIR`` judges
a run again from its files alone. The judge shares no code with the product: what it knows are the
outside contract and the public names of topics and event types.
"""
