"""Asking by batch: plans, shards, the account, and precompute."""
