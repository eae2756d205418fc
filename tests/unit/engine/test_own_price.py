"""Training that is not billed by the token: the backend's own sum is booked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from understudy.engine.surplus import training_cost
from understudy.model import RemoteState, RemoteStatus


def test_what_the_backend_says_is_booked_and_no_table_is_asked():
    nobody: Any = None
    for state in (RemoteState.SUCCEEDED, RemoteState.CANCELLED):
        status = RemoteStatus(state=state, raw=state.value, usd=Decimal("0.75"))
        assert training_cost(nobody, "local", nobody, status) == 750_000_000
