from __future__ import annotations

import json

import openai
import pytest

from azure_face_kit import reach
from understudy_sandbox.launch import Sandbox

URL = "/v1/chat/completions"


def line(name: str, model: str, text: str = "track order red boots", **more) -> dict:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return {"custom_id": name, "method": "POST", "url": URL, "body": body}


@pytest.fixture
def create(client, upload):
    def make(rows, **more):
        return client.batches.create(
            input_file_id=upload(rows, "batch").id, endpoint=URL, completion_window="24h", **more
        )

    return make


def results(client, name) -> list[dict]:
    return [json.loads(text) for text in client.files.content(name).text.splitlines()]


def test_a_batch_is_answered_counted_and_billed_at_half(
    sandbox, client, create, finish, trained
) -> None:
    model = trained.fine_tuned_model
    rows = [line(f"r{i}", model, f"return my black boots {i}") for i in range(20)]
    rows.append(line("bad", model, temperature=9))
    batch = create(rows, metadata={"key": "b1"})
    assert batch.status == "validating"
    done = finish(batch)
    assert done.status == "completed"
    counts = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (21, 20, 1)
    answers = results(client, done.output_file_id)
    assert [a["custom_id"] for a in answers] == [f"r{i}" for i in range(20)]
    said = answers[0]["response"]["body"]["choices"][0]["message"]["content"]
    assert json.loads(said)["intent"] == "return"
    (error,) = results(client, done.error_file_id)
    assert (error["custom_id"], error["response"]["status_code"]) == ("bad", 400)
    usage = [a["response"]["body"]["usage"] for a in answers]
    assert done.usage.input_tokens == sum(u["prompt_tokens"] for u in usage)
    (entry,) = [e for e in sandbox.bill()["entries"] if e["ref"] == batch.id]
    per_million = done.usage.input_tokens * 0.30 + done.usage.output_tokens * 1.20
    assert float(entry["usd"]) == pytest.approx(per_million / 2 / 1e6)
    assert done.metadata == {"key": "b1"}


def test_lists_have_first_and_last_id(client, create) -> None:
    made = [create([line("a", "gpt-4o-mini")]).id for _ in range(2)]
    raw = client.batches.with_raw_response.list(limit=2).http_response.json()
    assert [raw["first_id"], raw["last_id"]] == made[::-1]
    assert raw["has_more"] is True or len(raw["data"]) == 2


@pytest.mark.parametrize(
    ("rows", "code", "at"),
    [
        (b"", "empty_file", None),
        (b"{oops\n", "invalid_json_line", 1),
        ([line("a", "gpt-4o-mini")] * 2, "duplicate_custom_id", 2),
        ([{**line("a", "gpt-4o-mini"), "url": "/v1/other"}], "invalid_url", 1),
        ([{**line("a", "gpt-4o-mini"), "method": "GET"}], "invalid_method", 1),
        ([line("a", "gpt-4o-mini"), line("b", "gpt-4.1")], "mismatched_model", 2),
        ([line("a", "ft:none")], "model_not_found", None),
        ([line(str(i), "gpt-4.1-nano") for i in range(50_001)], "too_many_requests", None),
    ],
)
def test_bad_inputs_fail_with_the_line(create, finish, *, rows, code, at) -> None:
    failed = finish(create(rows))
    assert failed.status == "failed"
    assert failed.failed_at is not None
    assert (failed.errors.data[0].code, failed.errors.data[0].line) == (code, at)


def test_over_quota_fails_after_create(create, finish) -> None:
    long = "word " * 5000
    batch = create([line(str(i), "gpt-4.1-nano", long) for i in range(90)])
    assert batch.status == "validating"
    failed = finish(batch)
    assert failed.errors.data[0].code == "token_limit_exceeded"


def test_wrong_files_and_endpoints_are_refused(client, small_file, upload) -> None:
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.batches.create(input_file_id=small_file.id, endpoint=URL, completion_window="24h")
    with pytest.raises(openai.BadRequestError, match="chat/completions"):
        client.batches.create(
            input_file_id=upload([line("a", "gpt-4o-mini")], "batch").id,
            endpoint="/v1/embeddings",
            completion_window="24h",
        )
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")


def test_a_cancelled_batch_returns_what_it_did(sandbox, client, create, finish) -> None:
    batch = create([line(str(i), "gpt-4o-mini") for i in range(100)])
    finish(batch, "in_progress", step=0.5)
    sandbox.advance(2)
    assert client.batches.cancel(batch.id).status == "cancelling"
    gone = finish(batch)
    assert gone.status == "cancelled"
    assert 0 < gone.request_counts.completed < 100
    assert len(results(client, gone.output_file_id)) == gone.request_counts.completed
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_expire_batch_loses_rows_from_both_files(sandbox, client, create, finish) -> None:
    sandbox.faults({"on": "batches.create", "do": "expire_batch", "fraction": 0.4})
    late = finish(create([line(str(i), "gpt-4o-mini") for i in range(20)]))
    assert late.status == "expired"
    done, errors = results(client, late.output_file_id), results(client, late.error_file_id)
    assert len(done) == 8
    assert {e["error"]["code"] for e in errors} == {"batch_expired"}
    assert len(done) + len(errors) < 20


def test_lose_rows_drops_rows_of_a_completed_batch(sandbox, client, create, finish) -> None:
    sandbox.faults({"on": "batches.create", "do": "lose_rows", "fraction": 0.25})
    done = finish(create([line(str(i), "gpt-4o-mini") for i in range(20)]))
    assert done.status == "completed"
    assert len(results(client, done.output_file_id)) == 15
    assert done.error_file_id is None


def test_no_output_file_although_completed(sandbox, create, finish) -> None:
    sandbox.faults({"on": "batches.create", "do": "no_output_file"})
    done = finish(create([line("a", "gpt-4o-mini")]))
    assert (done.status, done.output_file_id) == ("completed", None)


@pytest.fixture
def faulty(sandbox, create, finish):
    """An ended batch of 20 requests that was created under a fault."""

    def make(do, **fields):
        sandbox.faults({"on": "batches.create", "do": do, **fields})
        return finish(create([line(str(i), "gpt-4o-mini") for i in range(20)]))

    return make


def billed(sandbox, batch) -> tuple[int, int]:
    found = [e for e in sandbox.bill()["entries"] if e["ref"] == batch.id]
    return sum(e["input_tokens"] for e in found), sum(e["output_tokens"] for e in found)


@pytest.mark.parametrize(
    ("do", "fields", "status", "code"),
    [
        ("fail_rows", {"status": 429}, 429, "rate_limit_exceeded"),
        ("fail_rows", {}, 500, None),
        ("filter_rows", {}, 400, "content_filter"),
    ],
)
def test_rows_that_fail_are_in_the_error_file_and_not_billed(
    sandbox, client, faulty, *, do, fields, status, code
) -> None:
    done = faulty(do, fraction=0.25, **fields)
    answers, errors = results(client, done.output_file_id), results(client, done.error_file_id)
    assert (done.status, len(answers), len(errors)) == ("completed", 15, 5)
    names = [row["custom_id"] for row in (*answers, *errors)]
    assert sorted(names, key=int) == [str(i) for i in range(20)]
    told = {(e["response"]["status_code"], e["response"]["body"]["error"]["code"]) for e in errors}
    assert told == {(status, code)}
    usage = [a["response"]["body"]["usage"] for a in answers]
    inputs, outputs = billed(sandbox, done)
    assert inputs == sum(u["prompt_tokens"] for u in usage)
    assert outputs == sum(u["completion_tokens"] for u in usage)


def test_an_output_file_may_be_cut_within_a_row(client, faulty) -> None:
    done = faulty("truncate_output", fraction=0.5)
    text = client.files.content(done.output_file_id).text
    assert not text.endswith("\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(text.splitlines()[-1])
    assert done.request_counts.completed == 20


def test_rows_may_come_in_another_order(client, faulty) -> None:
    names = [r["custom_id"] for r in results(client, faulty("reorder_rows").output_file_id)]
    assert names != sorted(names, key=int)
    assert sorted(names, key=int) == [str(i) for i in range(20)]


def test_an_error_file_may_be_there_and_empty(client, faulty) -> None:
    done = faulty("empty_error_file")
    assert client.files.retrieve(done.error_file_id).bytes == 0
    assert client.files.content(done.error_file_id).text == ""
    assert len(results(client, done.output_file_id)) == 20


def test_rows_and_batch_may_be_without_usage(sandbox, client, faulty) -> None:
    done = faulty("no_usage")
    bodies = [r["response"]["body"] for r in results(client, done.output_file_id)]
    assert not any("usage" in body for body in bodies)
    assert done.usage.input_tokens == 0
    assert billed(sandbox, done)[0] > 0


def test_files_may_be_gone_before_anybody_reads_them(client, faulty) -> None:
    done = faulty("expire_files")
    assert done.output_file_id
    with pytest.raises(openai.NotFoundError):
        client.files.content(done.output_file_id)


def test_counts_may_be_zero_although_there_is_output(client, faulty) -> None:
    done = faulty("zero_counts")
    assert (done.request_counts.total, done.request_counts.completed) == (0, 0)
    assert len(results(client, done.output_file_id)) == 20


def test_a_batch_may_be_over_the_quota_without_others(faulty) -> None:
    done = faulty("over_quota")
    assert (done.status, done.errors.data[0].code) == ("failed", "token_limit_exceeded")


def test_a_batch_may_be_cancelled_by_somebody_in_the_middle(client, faulty) -> None:
    done = faulty("cancel_batch", at=0.4)
    assert done.status == "cancelled"
    assert len(results(client, done.output_file_id)) == 8
    assert done.error_file_id is None


def test_equal_questions_have_one_answer_and_settings_are_kept(
    client, create, finish, trained
) -> None:
    model = trained.fine_tuned_model
    texts = ["return my red boots", "where is order 77", "return my red boots"]
    rows = [line(f"a{i}", model, text) for i, text in enumerate(texts)]
    rows += [line(f"b{i}", model, text, max_tokens=2) for i, text in enumerate(texts)]
    found = {
        r["custom_id"]: r["response"]["body"]
        for r in results(client, finish(create(rows)).output_file_id)
    }
    said = {name: body["choices"][0] for name, body in found.items()}
    assert said["a0"]["message"] == said["a2"]["message"] != said["a1"]["message"]
    assert {said[f"b{i}"]["finish_reason"] for i in range(3)} == {"length"}
    assert {body["usage"]["completion_tokens"] for n, body in found.items() if n[0] == "b"} == {2}
    for i, text in enumerate(texts):
        live = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}]
        )
        assert live.choices[0].message.content == said[f"a{i}"]["message"]["content"]
        assert live.usage.to_dict() == found[f"a{i}"]["usage"]


def test_a_row_of_a_batch_has_the_form_of_a_live_answer(client, create, finish) -> None:
    odd = 'r "1" %d €'
    done = finish(create([line(odd, "gpt-4o-mini", "100 % sure? %s @custom@")]))
    (row,) = results(client, done.output_file_id)
    live = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "100 % sure? %s @custom@"}]
    ).to_dict()
    body = row["response"]["body"]
    assert row["custom_id"] == odd
    assert {**live, "id": 0, "created": 0} == {**body, "id": 0, "created": 0}


def test_limits_of_batches_can_be_set(tmp_path) -> None:
    with (
        Sandbox(tmp_path, batches_per_hour=2, batch_requests=3, clock_speed=0) as own,
        openai.OpenAI(base_url=own.url, api_key=own.api_key, max_retries=0) as client,
    ):
        rows = [json.dumps(line(str(i), "gpt-4o-mini")).encode() + b"\n" for i in range(4)]
        file = client.files.create(file=("b.jsonl", b"".join(rows)), purpose="batch")
        asked = {"input_file_id": file.id, "endpoint": URL, "completion_window": "24h"}
        first = client.batches.create(**asked)
        client.batches.create(**asked)
        with pytest.raises(openai.RateLimitError):
            client.batches.create(**asked)
        own.advance(3601)
        assert client.batches.create(**asked).status == "validating"
        look, push = lambda: client.batches.retrieve(first.id), lambda: own.advance(1)
        failed = reach(look, push, {"failed", "completed"})
        assert failed.errors.data[0].code == "too_many_requests"


def test_a_deleted_batch_file_leaves_no_bytes(sandbox, client, create, finish, upload) -> None:
    file = upload([line("only one", "gpt-4o-mini")], "batch")
    blobs = sandbox.data / "blobs"
    before = set(blobs.iterdir())
    batch = client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
    client.files.delete(file.id)
    done = finish(batch)
    assert done.status == "completed"
    client.files.delete(done.output_file_id)
    assert set(blobs.iterdir()) <= before
