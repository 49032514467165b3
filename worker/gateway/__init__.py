"""The HTTP front door: the vendors' own upload calls, taken into our buffer.

`app` is what a server runs; each other module is one concern of a request's way to Redis.
"""
