"""BERT checkpoints in Hugging Face's format; its names occur nowhere else."""
