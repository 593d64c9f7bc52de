"""From texts to the numbers that the model reads: tokenizer, token ids, batches."""
