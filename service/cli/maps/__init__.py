"""Attention maps of a text, for a terminal and as files."""
