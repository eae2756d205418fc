from __future__ import annotations

import asyncio
import threading
from decimal import Decimal

import pytest

from understudy.cache import (
    CacheOptions,
    Cascade,
    CascadeRule,
    LiveModel,
    Trouble,
    open_cache,
    pack_reply,
)
from understudy.cache.requests import key_of_request
from understudy.errors import (
    AuthError,
    BackendError,
    ConfigError,
    DataError,
    InvalidData,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from understudy.infer import Answer
from understudy.model import ChatReply, ChatRequest, Usage
from understudy.testing import ManualClock

CACHE, VERSION = "triage", "triage@1"


def request(text, **sampling):
    return ChatRequest(
        model="triage",
        messages=({"role": "user", "content": text},),
        sampling={"temperature": 0, **sampling},
    )


def reply(text, model="ft:student", usage=None, finish_reason="stop"):
    return ChatReply(
        message={"role": "assistant", "content": text},
        finish_reason=finish_reason,
        usage=usage or Usage(input=10, output=2),
        model=model,
    )


class Model:
    """A live model that says what it is told to, or raises it."""

    def __init__(self, name, *says, price="0.001"):
        self.name, self.says, self.asked = name, list(says), []
        self.price = price

    def ask(self, asked):
        self.asked.append(asked)
        said = self.says.pop(0) if self.says else f"{self.name}: {asked.messages[-1]['content']}"
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, ChatReply) else reply(said, model=f"ft:{self.name}")

    @property
    def live(self):
        cost = None if self.price is None else lambda usage: Decimal(self.price) * usage.output
        return LiveModel(model=f"ft:{self.name}", ask=self.ask, cost=cost)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(tmp_path, clock):
    with open_cache(tmp_path / "cache", CacheOptions(clock=clock, fresh_for=0.0)) as made:
        yield made


def precompute(store, generation, *texts, version=VERSION):
    with store.writer(CACHE, generation, model=version) as writer:
        writer.put(
            (key_of_request(request(text), model_version=version), pack_reply(reply(f"{text}!")))
            for text in texts
        )
        writer.publish()


@pytest.fixture
def cascade(store, clock):
    """Makes a cascade; ``student`` and ``teacher`` may be left out."""

    def make(*, student=None, teacher=None, **rule):
        return Cascade(
            store,
            CACHE,
            student=student and student.live,
            teacher=teacher and teacher.live,
            model_version=rule.pop("model_version", None),
            rule=CascadeRule(**rule),
            clock=clock,
        )

    return make


def test_a_hit_comes_from_the_generation_and_costs_nothing(store, cascade):
    precompute(store, "g1", "hello")
    student = Model("student")
    found = cascade(student=student).ask(request("hello"))
    assert found.reply == reply("hello!")
    assert (found.source, found.generation, found.cost, found.hops) == ("cache", "g1", 0, ())
    assert student.asked == []


def test_a_miss_asks_the_student_once_and_the_next_one_finds_its_answer(store, cascade):
    precompute(store, "g1", "other")
    student = Model("student")
    asking = cascade(student=student)
    first, second = asking.ask(request("hello")), asking.ask(request("hello"))
    assert (first.source, first.reply.text, first.cost) == (
        "student",
        "student: hello",
        Decimal("0.002"),
    )
    assert first.hops == (("generation", "miss"), ("tail", "miss"))
    assert (second.source, second.reply, second.cost) == ("cache", first.reply, 0)
    assert (second.generation, second.hops) == (None, (("generation", "miss"),))
    assert [asked.model for asked in student.asked] == ["ft:student"]


def test_the_next_generation_carries_what_the_student_answered(store, cascade):
    precompute(store, "g1", "a")
    cascade(student=Model("student")).ask(request("b"))
    with store.writer(CACHE, "g2", model=VERSION) as writer:
        assert writer.carry() == 2
        writer.publish()
    found = cascade().ask(request("b"))
    assert (found.generation, found.reply.text) == ("g2", "student: b")


def test_without_a_generation_the_student_is_asked_under_its_own_name(store, cascade):
    student = Model("student")
    asking = cascade(student=student)
    assert asking.ask(request("hello")).hops[0] == ("generation", "there is none")
    assert asking.ask(request("hello")).source == "cache"


def test_answers_of_another_version_are_not_served(store, cascade):
    precompute(store, "g1", "hello")
    found = cascade(student=Model("student"), model_version="triage@2").ask(request("hello"))
    assert found.source == "student"
    assert found.hops[0].reason == "it holds answers of 'triage@1', not of 'triage@2'"


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (Unavailable("down"), "unavailable"),
        (RateLimited("slow"), "rate limited"),
        (OutcomeUnknown("cut off"), "outcome unknown"),
        (NotFound("gone"), "cannot be asked"),
        (AuthError("no key"), "cannot be asked"),
    ],
)
def test_what_the_student_cannot_do_the_teacher_does(cascade, error, trouble):
    found = cascade(student=Model("student", error), teacher=Model("teacher")).ask(request("x"))
    assert (found.source, found.reply.text) == ("teacher", "teacher: x")
    assert found.hops[-1] == ("student", f"{trouble}: {error}")


def test_a_rule_decides_what_leads_to_the_teacher(cascade):
    teacher = Model("teacher")
    asking = cascade(
        student=Model("student", Unavailable("down"), InvalidData("filtered")),
        teacher=teacher,
        falls_through=frozenset({Trouble.REFUSED}),
    )
    with pytest.raises(Unavailable, match="down"):
        asking.ask(request("x"))
    assert asking.ask(request("x")).source == "teacher"
    assert len(teacher.asked) == 1


def test_an_answer_that_will_not_do_is_paid_for_and_asked_of_the_teacher(cascade):
    asking = cascade(
        student=Model("student", "no json"),
        teacher=Model("teacher", "{}", price="0.5"),
        accept=lambda _, said: None if said.text.startswith("{") else "is no JSON",
    )
    found = asking.ask(request("x"))
    assert (found.source, found.reply.text) == ("teacher", "{}")
    assert found.hops[-1] == ("student", "answer rejected: is no JSON")
    assert found.cost == Decimal("0.002") + Decimal("1.0")
    assert asking.counts.so_far()["student_nanos"] == 2_000_000


def test_a_teachers_answer_stands_in_for_a_while_and_is_never_carried(store, cascade, clock):
    student = Model("student", Unavailable("down"))
    asking = cascade(student=student, teacher=Model("teacher"), teacher_ttl=60, model_version="v")
    assert asking.ask(request("x")).source == "teacher"
    assert asking.ask(request("x")).source == "cache"
    with store.writer(CACHE, "g1", model="v") as writer:
        assert writer.carry() == 0
    clock.advance(60)
    assert asking.ask(request("x")).source == "student"


@pytest.mark.parametrize(
    "said",
    [
        InvalidData("a content filter refused it", code="content_filter"),
        reply("", finish_reason="content_filter"),
        ChatReply(
            message={"role": "assistant", "content": None, "refusal": "I will not"},
            finish_reason="stop",
            usage=Usage(input=1, output=1),
            model="m",
        ),
    ],
    ids=["error", "cut", "in words"],
)
def test_a_refusal_is_remembered_until_it_expires(cascade, clock, said):
    student, teacher = Model("student", said), Model("teacher")
    asking = cascade(student=student, teacher=teacher, refusal_ttl=60)
    first, second = asking.ask(request("x")), asking.ask(request("x"))
    assert (first.source, first.reply, second.source) == ("student", None, "cache")
    assert first.refusal == second.refusal
    assert first.refusal is not None
    assert first.refusal.reason
    assert (len(student.asked), teacher.asked) == (1, [])
    clock.advance(60)
    assert asking.ask(request("x")).reply.text == "student: x"


def test_many_who_wait_for_one_answer_share_one_call(cascade):
    there, free = threading.Event(), threading.Event()

    class Slow(Model):
        def ask(self, asked):
            there.set()
            assert free.wait(30)
            return super().ask(asked)

    student = Slow("student")
    asking = cascade(student=student)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(asking.ask(request("x")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert there.wait(30)
    free.set()
    for thread in threads:
        thread.join()
    assert len(student.asked) == 1
    assert {each.reply.text for each in found} == {"student: x"}
    assert sum(each.cost for each in found) == Decimal("0.002"), "paid once"
    counts = asking.counts.so_far()
    assert counts["student_calls"] == 1
    assert counts.get("shared", 0) + counts.get("tail_hits", 0) == 7


def test_an_error_reaches_all_who_waited_and_nobody_after(cascade):
    student = Model("student", Unavailable("down"))
    asking = cascade(student=student)
    with pytest.raises(Unavailable):
        asking.ask(request("x"))
    assert asking.ask(request("x")).source == "student"


def test_sampled_requests_are_neither_shared_nor_kept(store, cascade):
    precompute(store, "g1", "a")
    student = Model("student")
    asking = cascade(student=student)
    for _ in range(2):
        found = asking.ask(request("x", temperature=1))
        assert (found.source, found.hops[-1].reason) == ("student", "the request is sampled")
    assert len(student.asked) == 2
    assert store.stats(CACHE).tail_entries == 0
    kept = cascade(student=student, reuse_sampled=True)
    assert [kept.ask(request("x", temperature=1)).source for _ in range(2)] == ["student", "cache"]


def test_tokens_that_the_provider_does_not_count_are_counted_here(cascade):
    said = reply("some words", usage=Usage(input=0, output=0))
    found = cascade(student=Model("student", said)).ask(request("hello there"))
    assert found.reply.usage_counted_here
    assert found.cost > 0
    assert found.reply.usage.input > found.reply.usage.output > 0


def test_a_price_that_nobody_knows_is_never_zero(cascade):
    asking = cascade(student=Model("student", price=None))
    assert asking.ask(request("x")).cost is None
    counts = asking.counts.so_far()
    assert (counts["student_unpriced"], counts.get("student_nanos", 0)) == (1, 0)


def test_counters_reach_the_store_with_each_live_call_and_at_the_end(store, cascade):
    precompute(store, "g1", "a")
    with cascade(student=Model("student")) as asking:
        asking.ask(request("a"))
        asking.ask(request("x"))
        assert store.stats(CACHE).counts == {
            "hits": 1,
            "student_calls": 1,
            "student_input_tokens": 10,
            "student_output_tokens": 2,
            "student_nanos": 2_000_000,
        }
        asking.ask(request("a"))
    assert store.stats(CACHE).counts["hits"] == 2


class Broken:
    """A store that cannot be reached."""

    def __getattr__(self, name):
        def fail(*_, **__):
            message = f"{name}: no route; redis://:hunter2secret@host"
            raise Unavailable(message)

        return fail


def test_a_cache_in_trouble_costs_no_answer_and_shows_no_secret(clock):
    asking = Cascade(Broken(), CACHE, student=Model("student").live, clock=clock)
    found = asking.ask(request("x"))
    assert (found.source, found.reply.text) == ("student", "student: x")
    assert "cache in trouble: Unavailable" in found.hops[0].reason
    assert "not kept" in found.hops[-1].reason
    assert "hunter2secret" not in str(found.hops)
    assert asking.counts.so_far()["student_nanos"] == 2_000_000, "it waits to be written"


def test_a_damaged_value_is_asked_again(store, cascade):
    with store.writer(CACHE, "g1", model=VERSION) as writer:
        writer.put([(key_of_request(request("x"), model_version=VERSION), b"{broken")])
        writer.publish()
    found = cascade(student=Model("student")).ask(request("x"))
    assert (found.source, "DataError" in found.hops[0].reason) == ("student", True)


def test_with_nobody_to_ask_a_miss_says_so(store, cascade):
    precompute(store, "g1", "a")
    with pytest.raises(ConfigError, match="neither a student nor a teacher"):
        cascade().ask(request("x"))


def test_a_request_without_a_canonical_form_is_the_callers_to_mend(cascade):
    with pytest.raises(DataError):
        cascade(student=Model("student")).ask(request("x", seed=2**60))


def test_it_can_be_awaited(store, cascade):
    precompute(store, "g1", "a")
    asking = cascade(student=Model("student"))

    async def both():
        return await asyncio.gather(asking.ask_async(request("a")), asking.ask_async(request("b")))

    assert [each.source for each in asyncio.run(both())] == ["cache", "student"]


class Answers:
    """An ``Answerer`` of one answer."""

    def __init__(self, answer):
        self._answer = answer

    def answer(self, requests):
        for each in requests:
            yield self._answer(each)


def test_a_live_model_may_be_an_answerer(cascade, store, clock):
    made = LiveModel.through(
        Answers(lambda asked: Answer(request=asked, reply=reply("via"))), "m", cost=None
    )
    found = Cascade(store, CACHE, student=made, clock=clock).ask(request("x"))
    assert found.reply.text == "via"
    refusing = LiveModel.through(
        Answers(lambda asked: Answer(request=asked, reply=None, problem="no")), "m", cost=None
    )
    asked = Cascade(store, CACHE, student=refusing, clock=clock).ask(request("y"))
    assert asked.refusal.reason == "no"


def test_a_live_model_over_a_backend_has_its_listed_price():
    from understudy.costs.prices import PriceBook

    class Backend:
        def complete(self, asked, *, timeout):
            assert timeout == 5
            return reply(asked.model)

    prices = PriceBook.load()
    made = LiveModel.over(Backend(), "gpt-4o-mini", prices=prices, provider="openai", timeout=5)
    assert made.ask(request("x")).text == "triage"
    assert made.cost(Usage(input=1_000_000, output=0)) == Decimal("0.15")
    with pytest.raises(ConfigError, match="no price is known"):
        LiveModel.over(Backend(), "no-such-model", prices=prices, provider="openai")


def test_the_last_error_is_the_one_that_is_raised(cascade):
    asking = cascade(student=Model("s", Unavailable("one")), teacher=Model("t", NotFound("two")))
    with pytest.raises(BackendError, match="two"):
        asking.ask(request("x"))
    assert asking.counts.so_far() == {
        "student_calls": 1,
        "student_unavailable": 1,
        "teacher_calls": 1,
        "teacher_gone": 1,
    }
