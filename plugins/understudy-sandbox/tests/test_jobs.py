from __future__ import annotations

import base64

import openai
import pytest

BASE = "gpt-4o-mini-2024-07-18"


def row(answer: str | None = "yes", **message) -> dict:
    return {
        "messages": [
            {"role": "user", "content": "is it"},
            {"role": "assistant", "content": answer, **message},
        ]
    }


def test_a_job_goes_through_its_statuses(sandbox, client, small_file, finish) -> None:
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=small_file.id)
    assert (job.status, job.model) == ("validating_files", BASE)
    assert job.hyperparameters.n_epochs == "auto"
    waited = ("queued", "running", "succeeded")
    seen = [job.status, *(finish(job, wanted, step=1).status for wanted in waited)]
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert seen == ["validating_files", "queued", "running", "succeeded"]
    assert done.fine_tuned_model is not None
    assert done.fine_tuned_model.startswith(f"ft:{BASE}:sandbox::")
    assert done.hyperparameters.n_epochs == 3
    assert done.finished_at is not None
    assert done.finished_at >= done.created_at + 20


def test_error_of_a_succeeded_job_is_an_empty_object(client, trained) -> None:
    raw = client.fine_tuning.jobs.with_raw_response.retrieve(trained.id)
    assert raw.http_response.json()["error"] == {}


def test_billed_tokens_follow_the_rule(client, small_file, finish, trained) -> None:
    import orjson

    from understudy_sandbox.tokens import row_tokens

    body = client.files.content(trained.training_file).content
    expected = 3 * sum(row_tokens(orjson.loads(line)) for line in body.splitlines())
    assert trained.trained_tokens == expected


def test_metadata_filters_the_list(client, small_file) -> None:
    made = client.fine_tuning.jobs.create(
        model=BASE, training_file=small_file.id, metadata={"key": "a1", "run": "r"}
    )
    plain = client.fine_tuning.jobs.create(model=BASE, training_file=small_file.id)
    by_key = list(client.fine_tuning.jobs.list(metadata={"key": "a1", "run": "r"}))
    without = [j.id for j in client.fine_tuning.jobs.list(extra_query={"metadata": "null"})]
    assert [j.id for j in by_key] == [made.id]
    assert plain.id in without
    assert made.id not in without


def test_the_list_pages_newest_first_without_first_and_last_id(client, small_file) -> None:
    ids = [
        client.fine_tuning.jobs.create(
            model=BASE, training_file=small_file.id, metadata={"page": "p"}
        ).id
        for _ in range(3)
    ]
    listed = [j.id for j in client.fine_tuning.jobs.list(limit=1, metadata={"page": "p"})]
    raw = client.fine_tuning.jobs.with_raw_response.list(limit=1).http_response.json()
    assert listed == ids[::-1]
    assert set(raw) == {"object", "data", "has_more"}


def test_events_are_newest_first_with_real_measures(client, trained) -> None:
    events = list(client.fine_tuning.jobs.list_events(trained.id, limit=4))
    losses = [e.data["train_loss"] for e in events if e.type == "metrics"]
    assert len(losses) >= 6
    assert losses[-1] > 5 * losses[0] > 0
    assert all("valid_loss" in e.data for e in events if e.type == "metrics")
    assert [e.created_at for e in events] == sorted((e.created_at for e in events), reverse=True)
    assert events[0].message == "The job has successfully completed"
    assert events[-1].message.startswith("Created fine-tuning job")
    assert len({e.id for e in events}) == len(events)


def test_checkpoints_answer_and_the_last_has_no_step(client, trained) -> None:
    found = list(client.fine_tuning.jobs.checkpoints.list(trained.id, limit=2))
    names = [c.fine_tuned_model_checkpoint for c in found]
    assert names[0] == trained.fine_tuned_model
    assert len(names) == 3
    assert all(":ckpt-step-" in name for name in names[1:])
    reply = client.chat.completions.create(
        model=names[-1], messages=[{"role": "user", "content": "track order black boots"}]
    )
    assert '"intent": "track"' in (reply.choices[0].message.content or "")


def test_the_result_file_holds_the_metrics(client, trained) -> None:
    text = base64.b64decode(client.files.content(trained.result_files[0]).content).decode()
    assert text.startswith("step,train_loss")
    assert len(text.splitlines()) > 5


def test_checkpoint_permissions(client, trained) -> None:
    permissions = client.fine_tuning.checkpoints.permissions
    made = list(permissions.create(trained.fine_tuned_model, project_ids=["proj_a", "proj_b"]))
    listed = [p.project_id for p in permissions.list(trained.fine_tuned_model)]
    assert listed == ["proj_b", "proj_a"]
    gone = permissions.delete(made[0].id, fine_tuned_model_checkpoint=trained.fine_tuned_model)
    assert gone.deleted
    assert len(list(permissions.list(trained.fine_tuned_model))) == 1


def test_a_cancelled_job_is_billed_for_what_it_did(sandbox, client, small_file, finish) -> None:
    job = client.fine_tuning.jobs.create(model=BASE, training_file=small_file.id)
    finish(job, "running", step=1)
    sandbox.advance(8)
    gone = client.fine_tuning.jobs.cancel(job.id)
    assert gone.status == "cancelled"
    entry = next(e for e in sandbox.bill()["entries"] if e["ref"] == job.id)
    assert entry["trained_tokens"] == gone.trained_tokens
    whole = finish(client.fine_tuning.jobs.create(model=BASE, training_file=small_file.id))
    assert 0 < gone.trained_tokens < whole.trained_tokens
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        client.fine_tuning.jobs.cancel(job.id)


def test_a_job_cancelled_in_the_queue_costs_nothing(sandbox, client, small_file) -> None:
    job = client.fine_tuning.jobs.create(model=BASE, training_file=small_file.id)
    assert client.fine_tuning.jobs.cancel(job.id).trained_tokens == 0
    assert job.id not in {e["ref"] for e in sandbox.bill()["entries"]}


def test_pause_stops_the_running_clock(sandbox, client, small_file, finish) -> None:
    job = client.fine_tuning.jobs.create(model=BASE, training_file=small_file.id)
    finish(job, "running", step=1)
    assert client.fine_tuning.jobs.pause(job.id).status == "pausing"
    sandbox.advance(5000)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "paused"
    assert client.fine_tuning.jobs.resume(job.id).status == "running"
    done = finish(job)
    assert done.status == "succeeded"
    assert done.finished_at - done.created_at >= 5000
    messages = [e.message for e in client.fine_tuning.jobs.list_events(job.id)]
    assert {"Fine-tuning job paused", "Fine-tuning job resumed"} <= set(messages)


def test_only_running_jobs_can_be_paused(client, small_file) -> None:
    job = client.fine_tuning.jobs.create(model=BASE, training_file=small_file.id)
    with pytest.raises(openai.BadRequestError, match="validating_files"):
        client.fine_tuning.jobs.pause(job.id)


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        ([row()] * 9, "invalid_training_file", "9 example"),
        (b"{not json}\n" * 10, "invalid_file_format", "Line 1"),
        ([row(None)] * 10, "invalid_training_file", "no content"),
        ([{"messages": row()["messages"][:1]}] * 10, "invalid_training_file", "last message"),
        ([{"messages": row()["messages"][1:]}] * 10, "invalid_training_file", "nothing but"),
        ([row(role="robot")] * 10, "invalid_training_file", "role 'robot'"),
        ([{"prompt": "a"}] * 10, "invalid_training_file", "messages is missing"),
        ([{"messages": []}] * 10, "invalid_training_file", "at least one"),
        ([[1]] * 10, "invalid_training_file", "not a JSON object"),
    ],
)
def test_bad_files_fail_the_job(client, upload, finish, *, rows, code, words) -> None:
    job = client.fine_tuning.jobs.create(model=BASE, training_file=upload(rows).id)
    failed = finish(job)
    assert failed.status == "failed"
    assert (failed.error.code, failed.error.param) == (code, "training_file")
    assert words in failed.error.message
    assert failed.trained_tokens is None


def test_dpo_learns_the_preferred_answer(client, upload, finish) -> None:
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"{w} number {i}"}]},
            "preferred_output": [{"role": "assistant", "content": good}],
            "non_preferred_output": [{"role": "assistant", "content": "no idea"}],
        }
        for i in range(10)
        for w, good in (("apples", "fruit"), ("carrots", "vegetable"))
    ]
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=upload(rows).id,
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 2}}},
    )
    done = finish(job)
    assert done.method.dpo.hyperparameters.beta == 0.2
    reply = client.chat.completions.create(
        model=done.fine_tuned_model, messages=[{"role": "user", "content": "carrots number 77"}]
    )
    assert reply.choices[0].message.content == "vegetable"


def test_a_fine_tune_can_be_trained_further(client, upload, finish) -> None:
    def labelled(word: str, label: str) -> list[dict]:
        return [
            {
                "messages": [
                    {"role": "user", "content": f"{word} {i}"},
                    {"role": "assistant", "content": label},
                ]
            }
            for i in range(10)
        ]

    first = finish(
        client.fine_tuning.jobs.create(model=BASE, training_file=upload(labelled("red", "A")).id)
    )
    second = finish(
        client.fine_tuning.jobs.create(
            model=first.fine_tuned_model, training_file=upload(labelled("blue", "B")).id
        )
    )
    said = [
        client.chat.completions.create(
            model=second.fine_tuned_model, messages=[{"role": "user", "content": f"{w} 99"}]
        )
        .choices[0]
        .message.content
        for w in ("red", "blue")
    ]
    assert said == ["A", "B"]
    assert second.model == first.fine_tuned_model


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": "gpt-6-luna"}, "model"),
        ({"model": "no-such-model"}, "model"),
        ({"training_file": "file-none"}, "training_file"),
        ({"suffix": "s" * 65}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"metadata": {str(i): "x" for i in range(17)}}, "metadata"),
        ({"method": {"type": "reinforcement"}}, "method.type"),
        ({"method": {"type": "magic"}}, "method.type"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
def test_bad_creates_are_refused(client, small_file, change, param) -> None:
    asked = {"model": BASE, "training_file": small_file.id, **change}
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(**asked)
    assert (refused.value.param or "").startswith(param)


def test_wandb_is_accepted_and_echoed(client, small_file) -> None:
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=small_file.id,
        integrations=[{"type": "wandb", "wandb": {"project": "p", "tags": ["t"]}}],
    )
    assert job.integrations[0].wandb.project == "p"


def test_unknown_jobs_are_404(client) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.fine_tuning.jobs.retrieve("ftjob-none")
    assert missing.value.code == "fine_tune_not_found"


def test_deleting_a_fine_tune_takes_its_checkpoints(client, small_file, finish) -> None:
    job = finish(client.fine_tuning.jobs.create(model=BASE, training_file=small_file.id))
    assert client.models.delete(job.fine_tuned_model).deleted
    for name in (job.fine_tuned_model, f"{job.fine_tuned_model}:ckpt-step-60"):
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(name)
    with pytest.raises(openai.PermissionDeniedError):
        client.models.delete(BASE)


def test_whole_numbers_are_learning_rates_too(client, small_file) -> None:
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=small_file.id,
        hyperparameters={"learning_rate_multiplier": 2, "batch_size": 4, "n_epochs": 1},
    )
    assert job.hyperparameters.learning_rate_multiplier == 2
