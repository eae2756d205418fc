"""All parts of one sandbox, put together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from understudy_sandbox.azure.deployments import Deployments, state_of
from understudy_sandbox.batching import Batcher
from understudy_sandbox.batching import status_of as batch_status
from understudy_sandbox.billing import Bill
from understudy_sandbox.catalog import Catalog
from understudy_sandbox.clock import open_clock
from understudy_sandbox.errors import ApiError
from understudy_sandbox.faults import Faults
from understudy_sandbox.fits import Fits
from understudy_sandbox.holds import Holds
from understudy_sandbox.langfuse.store import Records
from understudy_sandbox.state import OPENAI_HOME, State
from understudy_sandbox.timeline import status
from understudy_sandbox.training import Trainer

if TYPE_CHECKING:
    from understudy_sandbox.catalog import Resolved
    from understudy_sandbox.config import Config
    from understudy_sandbox.state import Doc


class Provider:
    """The state of a running sandbox and everything that acts on it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state = State(config.data)
        self.clock = open_clock(
            self.state.setting("clock"),
            start=config.clock_start,
            speed=config.clock_speed,
            anchor=config.clock_anchor,
        )
        self.keep_clock()
        self.catalog = Catalog(self.state, self.clock, config.shutdown)
        self.bill = Bill(self.state, self.clock)
        self.fits = Fits(self.state, config.learner)
        self.faults = Faults(self.state, config.faults)
        self.holds = Holds(self.clock)
        self.langfuse = Records(config.data, self.clock)
        self.trainer = Trainer(self.state, self.clock, self.fits, self.bill)
        self.deployments = Deployments(
            state=self.state,
            clock=self.clock,
            bill=self.bill,
            catalog=self.catalog,
            settings=config.azure,
        )
        self.batcher = Batcher(
            state=self.state,
            clock=self.clock,
            fits=self.fits,
            bill=self.bill,
            resolve=self._for_batch,
            config=config,
        )
        self.requests: Counter[str] = Counter(self.state.setting("requests") or {})
        self._kept_requests = self.requests.total()

    def keep_clock(self) -> None:
        """Store the clock, so that a restart goes on with it."""
        self.state.set("clock", self.clock.stored())

    def tick(self) -> None:
        """What time alone brings about; called many times a second."""
        self.trainer.settle()
        self.batcher.settle()
        self.deployments.settle()
        if self.requests.total() != self._kept_requests:
            self._kept_requests = self.requests.total()
            self.state.set("requests", dict(self.requests))

    def _for_batch(self, batch: Doc, model: str) -> Resolved:
        home = batch["home"]
        if home == OPENAI_HOME:
            return self.catalog.resolve(model)
        return self.deployments.resolve(home.removeprefix("azure/"), model, batch=True)

    def file(self, name: str, *, home: str, param: str = "file_id", status: int = 404) -> Doc:
        """A file of a home that is there and not expired.

        Raises:
            ApiError: there is none.
        """
        doc = self.state.docs["file"].get(name)
        expires = doc["expires_at"] if doc else None
        elsewhere = doc is not None and doc.get("home", OPENAI_HOME) != home
        if doc is None or elsewhere or (expires is not None and expires <= self.clock.now()):
            raise ApiError(
                status,
                f"No such File object: {name}. Upload it first, or list the files.",
                param=param,
                code=None if status == 404 else "file_not_found",
            )
        return doc

    def needs(self, blob: str) -> bool:
        """Whether a file, or a batch that has not ended, still has a blob."""
        docs = self.state.docs
        return any(d["blob"] == blob for d in docs["file"]) or any(
            d["blob"] == blob and not d["final"] for d in docs["batch"]
        )

    def visible(self, kind: str, home: str) -> list[Doc]:
        """The documents of a kind that the lists of a home show by now, the newest first."""
        now = self.clock.now()
        return [
            d
            for d in self.state.docs[kind].newest_first()
            if d.get("visible_at", 0) <= now and d.get("home", OPENAI_HOME) == home
        ]

    def summary(self) -> dict[str, Any]:
        """Counts and jobs, for tests and harnesses."""
        self.trainer.settle()
        now = self.clock.now()
        jobs = [
            {
                "id": j["id"],
                "status": status(j, now),
                "metadata": j["metadata"],
                "training_file": j["training_file"],
                "suffix": j["suffix"],
                "created_at": int(j["created"]),
                "model": j["model"],
            }
            for j in self.state.docs["job"]
        ]
        return {
            "provider": "understudy-sandbox",
            "now": now,
            "jobs_by_status": dict(Counter(j["status"] for j in jobs)),
            "jobs": jobs,
            "files": len(self.state.docs["file"]),
            "batches": len(self.state.docs["batch"]),
            "batch_runs": self._batch_runs(now),
            "models": len(self.state.docs["model"]),
            "deployments": [
                {
                    "id": d["id"],
                    "state": state_of(d, now),
                    "sku": d["sku"],
                    "model": d["model"]["name"],
                    "tags": d["tags"],
                }
                for d in self.deployments.all()
            ],
            "deployments_made": self.deployments.made(),
            "requests": dict(self.requests),
        }

    def _batch_runs(self, now: float) -> list[Doc]:
        return [
            {
                "id": b["id"],
                "status": batch_status(b, now),
                "metadata": b["metadata"],
                "input_file": b["input_file_id"],
                "model": b["model"],
                "total": b["total"],
            }
            for b in self.state.docs["batch"]
        ]

    def close(self) -> None:
        """Stop working and close the state."""
        self.trainer.close()
        self.batcher.close()
        self.state.set("requests", dict(self.requests))
        self.langfuse.close()
        self.state.close()
