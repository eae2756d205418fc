"""Answers of local models: one llama.cpp server a model, shared by all on the machine."""
