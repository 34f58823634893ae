"""Serving: the champion behind an OpenAI-compatible API, a chat page and a terminal chat.

Talks to training only through the workspace: conversations and votes go in, a new champion comes out.
"""
