"""Every operation of every wire."""

from __future__ import annotations

from understudy_sandbox.routes import admin, batches, chat, files, jobs, models, uploads
from understudy_sandbox.routes.azure import OPERATIONS as AZURE
from understudy_sandbox.routes.langfuse import OPERATIONS as LANGFUSE

OPENAI = (
    *files.OPERATIONS,
    *jobs.OPERATIONS,
    *models.OPERATIONS,
    *chat.OPERATIONS,
    *batches.OPERATIONS,
    *uploads.OPERATIONS,
    *admin.OPERATIONS,
)
OPERATIONS = OPENAI + AZURE + LANGFUSE
