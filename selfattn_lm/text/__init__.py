"""Labelled texts in, batches of token ids out."""
