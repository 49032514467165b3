"""The HTTP gateway: the vendors' own upload calls, for web apps in any language."""
