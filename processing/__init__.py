"""Audio in, log-mel features, tokenizers, processor, pictures."""
