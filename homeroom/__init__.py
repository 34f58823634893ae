"""Homeroom raises your own ChatGPT: from raw text to a served assistant that learns from those who use it."""

__version__ = "0.1.0"
