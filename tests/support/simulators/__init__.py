"""Simulators of the hosted providers: real HTTP servers on loopback, strict about what the vendor rejects.

No live service was ever recorded: every reply is a reconstruction from published pages and clients, and a simulator
is believed only because the vendor's own published client works against it.
"""
