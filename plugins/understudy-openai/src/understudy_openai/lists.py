"""Reading lists: page after page, our jobs among all, many statuses at once. Pure but for fetch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from understudy.errors import Unavailable
from understudy.model import Checkpoint, Found, Handle, Json, RemoteEvent, RemoteStatus
from understudy_openai import wire

__all__ = ["checkpoints", "events", "ours", "statuses", "walk"]

Row = Mapping[str, Json]


def walk(fetch: Callable[[str | None], Json], *, what: str) -> Iterator[Json]:
    """Pages in the provider's order, until it says or shows that the list ended.

    Args:
        fetch: gives the page after an id, or the first one.
        what: completes *could not ...* in the message.

    Raises:
        Unavailable: the server says that there is more but gives what it gave before.
    """
    seen: set[str] = set()
    after: str | None = None
    while True:
        page = fetch(after)
        ids = [wire.text(row.get("id")) for row in wire.rows(page)]
        new = [found for found in ids if found and found not in seen]
        more = wire.has_more(page)
        if ids and not new and more:
            raise Unavailable(
                f"could not {what}: the list repeats itself, so its end was not seen. "
                "It is tried again."
            )
        yield page
        if not new or more is False:
            return
        seen.update(new)
        after = new[-1]


def created(row: Row) -> float:
    """When the object was made; 0 where the server does not say."""
    return wire.time(row.get("created_at")) or 0.0


def ours(jobs: Iterable[Row], *, key: str, file: str | None) -> Found | None:
    """The job of this key or this training file; further ones are surplus, newest last."""
    found = {str(row["id"]): row for row in jobs if wire.is_ours(row, key=key, file=file)}
    if not found:
        return None
    handles = [wire.job_handle(row) for row in sorted(found.values(), key=created)]
    first, *surplus = (
        Handle(kind="job", id=one.id, data={**one.data, "key": key}) for one in handles
    )
    return Found(handle=first, surplus=tuple(surplus))


def statuses(
    pages: Iterable[Sequence[Row]], handles: Sequence[Handle], secrets: Iterable[str]
) -> dict[str, RemoteStatus]:
    """Statuses of ``handles`` from a list that is newest first.

    Reading stops when all were seen, when a page is older than the oldest of them, or when more
    pages were read than there are handles: from there on polling each alone is cheaper.
    """
    missing = {handle.id for handle in handles}
    found: dict[str, RemoteStatus] = {}
    if not missing:
        return found
    secrets = tuple(secrets)
    since = min(created(handle.data) for handle in handles)
    for number, page in enumerate(pages, 1):
        for row in page:
            if row["id"] in missing:
                found[str(row["id"])] = wire.job_status(row, secrets)
        missing -= found.keys()
        oldest = min((created(row) for row in page), default=0.0)
        if not missing or oldest < since or number >= len(handles):
            break
    return found


def events(
    pages: Iterable[Json], after: str | None, secrets: Iterable[str]
) -> Iterator[RemoteEvent]:
    """Events oldest first from pages that are newest first, back to the id ``after``."""
    secrets = tuple(secrets)
    newest: dict[str, RemoteEvent] = {}
    for page in pages:
        found = [wire.event(row, secrets) for row in wire.rows(page)]
        ids = [event.id for event in found]
        known = ids.index(after) if after in ids else len(ids)
        newest.update({event.id: event for event in found[:known]})
        if known < len(ids):
            break
    # Many share a second: the server's own order decides among them, turned round.
    turned = list(newest.values())[::-1]
    yield from sorted(turned, key=lambda event: event.at)


def checkpoints(pages: Iterable[Json]) -> list[Checkpoint]:
    """Checkpoints by step, each once; rows that name no model are of no use to anybody."""
    rows = [row for page in pages for row in wire.rows(page)]
    named = [row for row in rows if row.get("id") and row.get("fine_tuned_model_checkpoint")]
    found = [wire.checkpoint(row) for row in named]
    return sorted({one.id: one for one in found}.values(), key=lambda one: one.step)
