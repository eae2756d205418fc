"""Asking models: one interface, and its live form. The batch form lives in ``batch``."""

from understudy.infer.answerer import Answer, AnswerBook, Answerer
from understudy.infer.live import LiveAnswerer

__all__ = ["Answer", "AnswerBook", "Answerer", "LiveAnswerer"]
