"""The worker of one job: waits for its turn, runs the trainer, and tells how it ended."""
