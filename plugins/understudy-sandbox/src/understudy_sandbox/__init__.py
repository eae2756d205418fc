"""A fine-tuning provider on your own machine: OpenAI's wire, a real learner, a fault script."""
