"""Every operation of the wire."""

from __future__ import annotations

from understudy_sandbox.routes import admin, chat, files, jobs, models

OPERATIONS = (
    *files.OPERATIONS,
    *jobs.OPERATIONS,
    *models.OPERATIONS,
    *chat.OPERATIONS,
    *admin.OPERATIONS,
)
