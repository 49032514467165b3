"""The local stand-in of both vendors: a development tool that plays the other side of the wire.

It judges with rules of its own and shares no code with our schemas or destinations: two sides that
agree because they are the same code would prove nothing. ``ingest sandbox`` runs it
(`worker.sandbox.server`), and `worker.sandbox.sample_traffic` makes traffic for it.
"""
