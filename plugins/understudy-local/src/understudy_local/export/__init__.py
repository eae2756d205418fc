"""Exports: from a trained adapter to GGUF files, each held against the trained model."""
