"""Understudy's backend for the machine it runs on: trains an open student there."""
