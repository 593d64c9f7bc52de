"""A small self-attention text classifier that its user owns."""
