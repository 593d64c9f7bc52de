"""Labelled texts from files, folders, hub names and Python values."""
