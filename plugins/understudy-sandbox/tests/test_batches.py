from __future__ import annotations

import json

import openai
import pytest

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
