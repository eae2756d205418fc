"""Trainers: what runs in the process that trains. Nothing outside of that process imports torch."""
