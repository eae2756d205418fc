from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import IllegalTransition
from understudy.states import (
    EVENTS,
    LIVE,
    TERMINAL,
    TRANSITIONS,
    Event,
    State,
    diagram,
    next_state,
)

STAGES = sorted(LIVE - {State.NEEDS_ATTENTION})
PAID = {State.REGISTERING, State.EVALUATING, State.READY, State.REJECTED}


def legal_events(state: State, stage: State) -> list[Event]:
    if state is State.NEEDS_ATTENTION and stage in PAID:
        return [Event.RETRY]
    return sorted(event for (source, event) in TRANSITIONS if source is state)


def walk(choices: list[int]) -> list[tuple[State, Event, State]]:
    """A life of a job: at each step one of the legal events, as the engine would apply them."""
    state, stage, path = State.CREATED, State.CREATED, []
    for choice in choices:
        legal = legal_events(state, stage)
        if not legal:
            break
        event = legal[choice % len(legal)]
        after = next_state(state, event, stage=stage)
        if after is State.NEEDS_ATTENTION:
            stage = state
        path.append((state, event, after))
        state = after
    return path


lives = st.lists(st.integers(0, 99), max_size=60).map(walk)


@settings(deadline=None)
@given(lives)
def test_once_it_succeeded_it_never_fails_and_is_never_cancelled(path):
    states = [after for _, _, after in path]
    if State.REGISTERING in states:
        rest = states[states.index(State.REGISTERING) :]
        assert set(rest) <= PAID | {State.NEEDS_ATTENTION}


@settings(deadline=None)
@given(st.sampled_from(EVENTS), st.sampled_from([State.REGISTERING, State.EVALUATING]))
def test_a_paid_job_in_need_of_attention_can_only_go_on(event, stage):
    if event is Event.RETRY:
        assert next_state(State.NEEDS_ATTENTION, event, stage=stage) is stage
        return
    with pytest.raises(IllegalTransition, match=r"it can take: retry$"):
        next_state(State.NEEDS_ATTENTION, event, stage=stage)


@settings(deadline=None)
@given(lives)
def test_only_the_provider_or_a_refusal_leads_to_failed(path):
    for before, event, after in path:
        if after is State.FAILED:
            assert event in {Event.REMOTE_FAILED, Event.REFUSED}, before


@settings(deadline=None)
@given(lives)
def test_a_job_that_the_provider_cancelled_is_cancelled(path):
    for _, event, after in path:
        if event is Event.REMOTE_CANCELLED:
            assert after is State.CANCELLED


@settings(deadline=None)
@given(lives)
def test_a_job_that_succeeded_is_registered(path):
    for _, event, after in path:
        if event is Event.REMOTE_SUCCEEDED:
            assert after is State.REGISTERING


@settings(deadline=None)
@given(lives)
def test_a_wished_cancel_stands_until_the_provider_has_spoken(path):
    for before, event, after in path:
        if before is State.CANCELLING and after is not State.CANCELLING:
            assert event in {
                Event.REMOTE_CANCELLED,
                Event.REMOTE_SUCCEEDED,
                Event.REMOTE_FAILED,
                Event.NEVER_STARTED,
                Event.WISH_REFUSED,
                Event.STUCK,
            }


@settings(deadline=None)
@given(lives)
def test_what_has_ended_stays_ended(path):
    assert all(before not in TERMINAL for before, _, _ in path)


@settings(deadline=None)
@given(st.sampled_from(sorted(State)), st.sampled_from(EVENTS), st.sampled_from(STAGES))
def test_illegal_events_raise_with_the_legal_ones(state, event, stage):
    legal = legal_events(state, stage)
    if event in legal:
        assert isinstance(next_state(state, event, stage=stage), State)
        return
    with pytest.raises(IllegalTransition) as caught:
        next_state(state, event, stage=stage)
    words = str(caught.value)
    assert repr(state.value) in words
    assert repr(event.value) in words
    if legal:
        listed = re.search("it can take: (.*)", words)
        assert listed is not None
        assert listed[1].split(", ") == legal
    else:
        assert words.endswith("it has ended")


@pytest.mark.parametrize("start", sorted(LIVE))
def test_every_live_state_can_end(start):
    seen, todo = set(), [start]
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        for (source, _), target in TRANSITIONS.items():
            if source is state and isinstance(target, State):
                todo.append(target)
    assert seen & TERMINAL


@pytest.mark.parametrize("state", sorted(State))
def test_every_state_can_be_reached(state):
    seen = {State.CREATED}
    for _ in State:
        seen |= {t for (s, _), t in TRANSITIONS.items() if s in seen and isinstance(t, State)}
    assert state in seen


def test_every_event_has_an_arrow():
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_live_and_terminal_divide_the_states():
    assert set(State) == LIVE | TERMINAL
    assert LIVE.isdisjoint(TERMINAL)
    assert all(source in LIVE for source, _ in TRANSITIONS)


@pytest.mark.parametrize("stage", STAGES)
def test_retry_leads_back_to_the_stage(stage):
    assert next_state(State.NEEDS_ATTENTION, Event.RETRY, stage=stage) is stage


@pytest.mark.parametrize("stage", [None, State.NEEDS_ATTENTION, *sorted(TERMINAL)])
def test_retry_needs_a_live_stage(stage):
    with pytest.raises(IllegalTransition, match="retried into a live stage"):
        next_state(State.NEEDS_ATTENTION, Event.RETRY, stage=stage)


def test_the_diagram_shows_every_arrow_and_no_other():
    lines = [line.strip() for line in diagram().splitlines()]
    assert lines[0] == "stateDiagram-v2"
    drawn = set()
    for line in lines:
        match = re.fullmatch(r"(\w+) --> (\w+): (.*)", line)
        if match:
            drawn |= {(match[1], name, match[2]) for name in match[3].split(", ")}
    arrows = {
        (source.value, event.value, target.value)
        for (source, event), target in TRANSITIONS.items()
        if isinstance(target, State) and target is not source
    }
    assert drawn == arrows
    assert {f"{state.value} --> [*]" for state in TERMINAL} <= set(lines)
