"""The demo: a generated call log, and the main job run on it against a sandbox."""
