"""Draws the images of docs/losses.md from the library itself: `python -m docs.plots`."""
