"""The engine: the only writer of operations and job state.

``Engine`` holds what a step needs; ``Worker`` claims due operations under a lease and steps them;
``commands`` are what a person may ask for. Start with ``sending.py`` for how paid work is started
once and only once.
"""

from understudy.engine.context import Engine
from understudy.engine.worker import Worker

__all__ = ["Engine", "Worker"]
