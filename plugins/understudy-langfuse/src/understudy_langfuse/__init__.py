"""Langfuse for Understudy: calls as training data, scores and traces written back."""
