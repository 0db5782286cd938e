"""Scoring of many texts: lines in, rows out, in order, in constant memory."""
