"""Drives the sandbox's Azure face with litellm's ``azure`` provider; prints one JSON line.

The deployment is made by plain requests to Resource Manager, for which litellm has nothing.
"""

import json
import sys
from pathlib import Path

import litellm
from peer_clock import clock_of, send

url, key, training_path, arm_token, deployments = sys.argv[1:]
version = "2025-04-01-preview"
where = {
    "custom_llm_provider": "azure",
    "api_base": url,
    "api_key": key,
    "api_version": version,
}
advance, reach = clock_of(url, key)
seen = {}


training = Path(training_path).read_bytes()
file = litellm.create_file(file=("train.jsonl", training), purpose="fine-tune", **where)
seen["file"] = file.status
reach(lambda: litellm.file_retrieve(file_id=file.id, **where), {"processed"}, 1)
ask = {"model": "gpt-4o-mini", "training_file": file.id, **where}
job = litellm.create_fine_tuning_job(suffix="litellm", **ask)  # it sends trainingType 1 by itself


def look():
    return litellm.retrieve_fine_tuning_job(fine_tuning_job_id=job.id, **where)


done = reach(look, {"succeeded", "failed"}, 5)
seen["done"], seen["model"] = done.status, done.fine_tuned_model
other = litellm.create_fine_tuning_job(trainingType="developerTier", **ask)
seen["cancel"] = litellm.cancel_fine_tuning_job(fine_tuning_job_id=other.id, **where).status
listed = litellm.list_fine_tuning_jobs(limit=5, **where).data
seen["jobs"] = {job.id, other.id} <= {one.id for one in listed}
body = {
    "sku": {"name": "GlobalStandard", "capacity": 1},
    "properties": {"model": {"format": "OpenAI", "name": seen["model"], "version": "1"}},
}
one = f"{deployments}/litellm?api-version=2025-06-01"
seen["put"] = send(url, "PUT", one, body, arm_token)
advance(31)
messages = [{"role": "user", "content": "track order red boots"}]
chat = {"model": "azure/litellm", "messages": messages, "api_base": url, "api_key": key}
reply = litellm.completion(**chat, api_version=version)
seen["answer"] = reply.choices[0].message.content
streamed = litellm.completion(**chat, api_version=version, stream=True)
seen["streamed"] = "".join(c.choices[0].delta.content or "" for c in streamed if c.choices)
seen["gone"] = send(url, "DELETE", one, None, arm_token)
litellm.file_delete(file_id=file.id, **where)
sys.stdout.write(json.dumps(seen) + "\n")
