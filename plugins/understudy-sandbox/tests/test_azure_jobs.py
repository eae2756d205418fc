"""Fine-tuning on Azure's data plane, each difference from OpenAI's wire by name."""

from __future__ import annotations

import re

import openai
import pytest

from azure_face_kit import GLOBAL, VERSION

MISLEADING = "does not support fine-tuning"


def test_create_answers_201_with_location(azure, azure_file) -> None:
    body = {"model": "gpt-4o-mini", "training_file": azure_file, **GLOBAL}
    made = azure.data("POST", "/fine_tuning/jobs", json=body)
    assert made.status_code == 201
    job = made.json()
    assert f"/openai/fine_tuning/jobs/{job['id']}" in made.headers["location"]
    assert VERSION in made.headers["operation-location"]
    assert azure.data("POST", f"/fine_tuning/jobs/{job['id']}/cancel").status_code == 200


@pytest.mark.parametrize("version", [None, "", "latest"])
def test_a_missing_api_version_is_404_resource_not_found(azure, version) -> None:
    query = {} if version is None else {"api-version": version}
    reply = azure.http.get(
        "/openai/fine_tuning/jobs", params=query, headers={"api-key": azure.sandbox.api_key}
    )
    assert reply.status_code == 404
    assert reply.json() == {"error": {"code": "404", "message": "Resource not found"}}


def test_an_unknown_path_is_404_in_azures_envelope(azure) -> None:
    assert azure.data("GET", "/nothing").json()["error"]["code"] == "404"


def test_an_api_version_too_old_for_a_field_names_field_and_version(azure, azure_file) -> None:
    body = {"model": "gpt-4o-mini", "training_file": azure_file, **GLOBAL}
    query = {"api-version": "2024-10-21"}
    refused = azure.data("POST", "/fine_tuning/jobs", json=body, params=query)
    assert refused.status_code == 400
    assert "trainingType" in refused.json()["error"]["message"]
    assert "2025-02-01" in refused.json()["error"]["message"]


def test_a_job_is_pending_until_it_runs_and_may_say_created(azure, azure_file) -> None:
    job = azure.create(azure_file)
    jobs = azure.classic.fine_tuning.jobs
    seen = [job.status]
    for _ in range(400):
        status = jobs.retrieve(job.id).status
        if status != seen[-1]:
            seen.append(status)
        if status == "running":
            break
        azure.sandbox.advance(0.5)
    assert seen == ["pending", "running"]
    azure.sandbox.faults({"on": "fine_tuning.jobs.retrieve", "do": "status", "value": "created"})
    assert jobs.retrieve(job.id).status == "created"
    assert jobs.cancel(job.id).status == "cancelled"


def test_hyperparameters_are_minus_one_until_the_job_starts(azure, azure_file, azure_job) -> None:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    job = azure.create(azure_file, method=method)
    shown = job.to_dict()
    assert shown["hyperparameters"]["batch_size"] == -1
    assert shown["hyperparameters"]["n_epochs"] == 2
    assert shown["method"]["supervised"]["hyperparameters"]["learning_rate_multiplier"] == -1
    azure.classic.fine_tuning.jobs.cancel(job.id)
    assert azure_job.hyperparameters.n_epochs >= 1


def test_minus_one_is_taken_for_auto(azure, azure_file) -> None:
    asked = {"n_epochs": -1, "batch_size": 2}
    job = azure.create(azure_file, hyperparameters=asked)
    assert job.hyperparameters.n_epochs == -1
    assert job.hyperparameters.batch_size == 2
    azure.classic.fine_tuning.jobs.cancel(job.id)


def test_classic_keeps_no_metadata_and_v1_does(azure, azure_file) -> None:
    classic = azure.create(azure_file, metadata={"key": "k"}).to_dict()
    assert "metadata" not in classic
    job = azure.v1.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=azure_file, metadata={"key": "k"}, extra_body=GLOBAL
    )
    assert job.metadata == {"key": "k"}
    assert azure.v1.fine_tuning.jobs.retrieve(classic["id"]).metadata is None
    for name in (classic["id"], job.id):
        azure.v1.fine_tuning.jobs.cancel(name)


def test_without_training_type_the_base_model_is_blamed(azure, azure_file) -> None:
    for tier in (None, "", "fast", True):
        with pytest.raises(openai.BadRequestError, match=MISLEADING):
            azure.create(azure_file, tier=tier)
    with pytest.raises(openai.BadRequestError, match=MISLEADING):
        azure.v1.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=azure_file)


@pytest.mark.parametrize(
    ("spelt", "shown"),
    [
        ("Standard", "standard"),
        ("STANDARD", "standard"),
        ("globalstandard", "globalStandard"),
        ("GlobalStandard", "globalStandard"),
        (1, "globalStandard"),
        ("developer", "developerTier"),
        ("DeveloperTier", "developerTier"),
    ],
)
def test_every_spelling_of_a_training_type_is_taken(azure, azure_file, spelt, shown) -> None:
    job = azure.create(azure_file, tier=spelt)
    azure.classic.fine_tuning.jobs.cancel(job.id)
    assert job.to_dict()["trainingType"] == shown


def test_4o_mini_is_supervised_only_and_dpo_is_for_the_larger(azure, azure_file) -> None:
    dpo = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2}}}
    with pytest.raises(openai.BadRequestError, match="dpo is not supported"):
        azure.create(azure_file, method=dpo)
    for model in ("gpt-4o-2024-08-06", "gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14"):
        job = azure.create(azure_file, model=model, method=dpo)
        assert job.method.dpo.hyperparameters.beta == 0.2
        azure.classic.fine_tuning.jobs.cancel(job.id)


def test_a_region_that_does_not_train_blames_the_model_too(azure) -> None:
    west = f"{azure.sandbox.azure_url}/accounts/understudy-sandbox-west/openai/v1"
    with openai.OpenAI(base_url=west, api_key=azure.sandbox.api_key, max_retries=0) as client:
        file = client.files.create(file=("a.jsonl", b"{}\n"), purpose="fine-tune")
        with pytest.raises(openai.BadRequestError, match=MISLEADING):
            client.fine_tuning.jobs.create(
                model="gpt-4o-mini", training_file=file.id, extra_body=GLOBAL
            )
        assert [f.id for f in client.files.list()] == [file.id]


@pytest.mark.parametrize(("suffix", "says"), [("a.b", "dot"), ("x" * 41, "40")])
def test_a_suffix_with_dots_or_too_long_for_classic_is_refused(
    azure, azure_file, suffix, says
) -> None:
    with pytest.raises(openai.BadRequestError, match=says):
        azure.create(azure_file, suffix=suffix)


def test_v1_takes_a_suffix_of_64_characters(azure, azure_file) -> None:
    jobs = azure.v1.fine_tuning.jobs
    ask = {"model": "gpt-4o-mini", "training_file": azure_file, "extra_body": GLOBAL}
    job = jobs.create(suffix="x" * 64, **ask)
    jobs.cancel(job.id)
    with pytest.raises(openai.BadRequestError):
        jobs.create(suffix="x" * 65, **ask)


def test_names_of_models_and_checkpoints_are_azures(azure, azure_job) -> None:
    hexes = azure_job.id.removeprefix("ftjob-")
    assert re.fullmatch(r"[0-9a-f]{32}", hexes)
    assert azure_job.fine_tuned_model == f"gpt-4o-mini-2024-07-18.ft-{hexes}-shop"
    points = list(azure.classic.fine_tuning.jobs.checkpoints.list(azure_job.id))
    assert all(p.id.startswith("ftchkpt-") for p in points)
    assert points[0].fine_tuned_model_checkpoint == azure_job.fine_tuned_model


def test_trained_tokens_are_not_the_billed_ones_of_the_events(azure, azure_job) -> None:
    events = list(azure.classic.fine_tuning.jobs.list_events(azure_job.id, limit=50))
    said = next(e.message for e in events if e.message.startswith("Training tokens billed"))
    billed = int(said.rsplit(" ", 1)[1])
    assert billed != azure_job.trained_tokens
    (entry,) = azure.bill("training", azure_job.id)
    assert entry["trained_tokens"] == billed


def test_a_cancel_without_a_length_is_411(azure, azure_file) -> None:
    job = azure.create(azure_file)
    path = f"/fine_tuning/jobs/{job.id}/cancel"
    request = azure.http.build_request(
        "POST",
        f"/openai{path}",
        params={"api-version": VERSION},
        headers={"api-key": azure.sandbox.api_key},
    )
    del request.headers["content-length"]
    assert azure.http.send(request).status_code == 411
    assert azure.data("POST", path, json={}).json()["status"] == "cancelled"


def test_a_resumed_job_is_resuming_for_a_moment(azure, azure_file) -> None:
    jobs = azure.classic.fine_tuning.jobs
    job = azure.create(azure_file)
    azure.reach(lambda: jobs.retrieve(job.id), "running", step=1)
    assert jobs.pause(job.id).status == "pausing"
    azure.reach(lambda: jobs.retrieve(job.id), "paused", step=1)
    assert jobs.resume(job.id).status == "resuming"
    azure.reach(lambda: jobs.retrieve(job.id), "running", step=1)
    jobs.cancel(job.id)


def test_a_fine_tuned_model_can_be_trained_on(azure, azure_file, azure_job) -> None:
    jobs = azure.classic.fine_tuning.jobs
    job = azure.create(azure_file, model=azure_job.fine_tuned_model, suffix="more")
    assert job.model == azure_job.fine_tuned_model
    done = azure.reach(lambda: jobs.retrieve(job.id), "succeeded")
    assert done.fine_tuned_model.startswith("gpt-4o-mini-2024-07-18.ft-")
    assert azure.data("DELETE", f"/fine_tuning/jobs/{job.id}").status_code == 204
    assert azure.data("DELETE", f"/fine_tuning/jobs/{job.id}").status_code == 204
    with pytest.raises(openai.NotFoundError):
        jobs.retrieve(job.id)


def test_openais_face_and_azures_keep_their_things_apart(azure, azure_job) -> None:
    sandbox = azure.sandbox
    with openai.OpenAI(base_url=sandbox.url, api_key=sandbox.api_key, max_retries=0) as client:
        assert not list(client.fine_tuning.jobs.list())
        with pytest.raises(openai.NotFoundError):
            client.fine_tuning.jobs.retrieve(azure_job.id)
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(azure_job.training_file)
        assert azure_job.fine_tuned_model not in [m.id for m in client.models.list()]
    assert azure_job.fine_tuned_model in [m.id for m in azure.v1.models.list()]


def test_models_of_classic_have_lifecycle_and_deprecation(azure, azure_job) -> None:
    shown = {m["id"]: m for m in azure.data("GET", "/models").json()["data"]}
    mini = shown["gpt-4o-mini-2024-07-18"]
    assert mini["capabilities"]["fine_tune"] is True
    assert mini["deprecation"]["inference"] > azure.sandbox.now()
    assert shown[azure_job.fine_tuned_model]["fine_tune"] == azure_job.id


def test_three_jobs_run_and_twenty_wait_as_pending(azure, azure_file) -> None:
    jobs = azure.classic.fine_tuning.jobs
    made = [azure.create(azure_file, seed=1) for _ in range(23)]
    azure.sandbox.faults()
    for _ in range(100):
        statuses = [jobs.retrieve(j.id).status for j in made[:4]]
        if statuses[2] == "running":
            break
        azure.sandbox.advance(1)
    assert statuses == ["running", "running", "running", "pending"]
    with pytest.raises(openai.RateLimitError) as refused:
        azure.create(azure_file)
    assert refused.value.code == "quotaExceeded"
    free = azure.create(azure_file, tier="developer")  # its queue is another
    for job in [free, *made[4:]]:
        jobs.cancel(job.id)
    done = azure.reach(lambda: jobs.retrieve(made[3].id), "succeeded", step=3)
    # Which of the three ends first is up to the learner, which takes real time.
    ended = [jobs.retrieve(job.id).finished_at for job in made[:3]]
    # The fourth began when a place came free, however far the clock leapt.
    assert done.finished_at - min(at for at in ended if at) >= 10


def test_five_jobs_of_the_developer_tier_run_at_once(azure, azure_file) -> None:
    jobs = azure.classic.fine_tuning.jobs
    made = [azure.create(azure_file, tier="developerTier", seed=1) for _ in range(6)]
    azure.reach(lambda: jobs.retrieve(made[4].id), "running", step=1)
    assert [jobs.retrieve(j.id).status for j in made] == ["running"] * 5 + ["pending"]
    jobs.cancel(made[0].id)
    azure.reach(lambda: jobs.retrieve(made[5].id), "running", step=1)
    for job in made[1:]:
        jobs.cancel(job.id)
