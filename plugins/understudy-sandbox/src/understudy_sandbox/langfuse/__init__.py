"""Langfuse as the sandbox plays it: spans to observations, scores, datasets, experiments."""
