"""Every operation of the wire."""

from __future__ import annotations

from understudy_sandbox.routes import admin, batches, chat, files, jobs, models, uploads

OPERATIONS = (
    *files.OPERATIONS,
    *jobs.OPERATIONS,
    *models.OPERATIONS,
    *chat.OPERATIONS,
    *batches.OPERATIONS,
    *uploads.OPERATIONS,
    *admin.OPERATIONS,
)
