"""Drives a sandbox with litellm, unchanged; prints what it saw as one JSON line.

litellm has no functions for events, checkpoints, pause and resume: those go through the older
openai SDK that it brings.
"""

import json
import sys
from pathlib import Path

import litellm
import openai
from peer_clock import clock_of

url, key, training_path, batch_text = sys.argv[1:]
where = {"custom_llm_provider": "openai", "api_base": url, "api_key": key}
advance, reach = clock_of(url.removesuffix("/v1"), key)
seen = {}


def look(name):
    return lambda: litellm.retrieve_fine_tuning_job(fine_tuning_job_id=name, **where)


training = Path(training_path).read_bytes()
file = litellm.create_file(file=("train.jsonl", training), purpose="fine-tune", **where)
seen["file"] = file.purpose
ask = {"model": "gpt-4o-mini", "training_file": file.id, **where}
job = litellm.create_fine_tuning_job(suffix="litellm", **ask)
sdk = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
jobs = sdk.fine_tuning.jobs
reach(look(job.id), {"running"}, 1)
seen["pause"] = jobs.pause(job.id).status
seen["paused"] = reach(lambda: jobs.retrieve(job.id), {"paused"}, 1).status
seen["resume"] = jobs.resume(job.id).status
done = reach(look(job.id), {"succeeded", "failed"}, 5)
seen["done"], seen["model"] = done.status, done.fine_tuned_model
other = litellm.create_fine_tuning_job(**ask)
seen["cancel"] = litellm.cancel_fine_tuning_job(fine_tuning_job_id=other.id, **where).status
first = litellm.list_fine_tuning_jobs(limit=1, **where)
second = litellm.list_fine_tuning_jobs(limit=1, after=first.data[0].id, **where)
seen["pages"] = [first.data[0].id == other.id, second.data[0].id == job.id]
events = list(jobs.list_events(job.id, limit=3))
seen["losses"] = [e.data["train_loss"] for e in events if e.type == "metrics"]
points = jobs.checkpoints.list(job.id, limit=1)
seen["checkpoints"] = [p.fine_tuned_model_checkpoint for p in points]
reply = litellm.completion(
    model="openai/" + seen["model"],
    messages=[{"role": "user", "content": "track order red boots"}],
    api_base=url,
    api_key=key,
)
seen["answer"] = reply.choices[0].message.content
body = batch_text.replace("MODEL", seen["model"]).encode()
rows = litellm.create_file(file=("batch.jsonl", body), purpose="batch", **where)
batch = litellm.create_batch(
    completion_window="24h", endpoint="/v1/chat/completions", input_file_id=rows.id, **where
)
ended = reach(
    lambda: litellm.retrieve_batch(batch_id=batch.id, **where), {"completed", "failed"}, 2
)
seen["batch"] = ended.status
output = litellm.file_content(file_id=ended.output_file_id, **where)
seen["results"] = len(output.content.splitlines())
seen["batches"] = len(litellm.list_batches(limit=10, **where).data)
seen["deleted"] = litellm.file_delete(file_id=file.id, **where).deleted
sys.stdout.write(json.dumps(seen) + "\n")
