"""Planning, ingest and publication of a precompute run, a stage at a time, without a provider.

Each stage is held against the plain cost of its own bytes: parse every line that it reads as JSON,
and write every line that it makes, in one loop; "times plain" compares the wall's time and
"by CPU" that of all processes. A busy machine shows lower rates.

    python benchmarks/precompute.py [ROWS]      # 500,000 by default; input, files and cache go to
                                                # a temporary folder: about 1 KB a row
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from understudy.batch.checks import make_checker
from understudy.batch.inputs import read_blocks
from understudy.batch.planning import Planned, Scope, cut, processes_for, spill
from understudy.batch.questions import Questions
from understudy.batch.recipe import Ask, Check, Input
from understudy.batch.replies import Reader, answer_lines
from understudy.cache import open_cache
from understudy.engine.batch_files import RowForm, read_rows, write_upload
from understudy.model import ChatRequest

MODEL = "ft:gpt-4o-mini-2024-07-18:acme::B1"
SYSTEM = "You read search queries of a directory of places. Answer with the intent as JSON."
ANSWER = '{"intent":"food","place":"near me"}'
SHARD = 50_000
SCHEMA = {
    "type": "object",
    "required": ["intent"],
    "properties": {"intent": {"type": "string"}, "place": {"type": "string"}},
}


def row_of(request: ChatRequest, key: str) -> dict[str, Any]:
    """A row as OpenAI's wire has it."""
    body = {"model": request.model, "messages": list(request.messages), **request.sampling}
    return {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}


def reply_of(key: str) -> dict[str, Any]:
    """A reply as OpenAI's wire has it, with all its fields."""
    details = {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0}
    usage = {
        "prompt_tokens": 40,
        "completion_tokens": 11,
        "total_tokens": 51,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {**details, "rejected_prediction_tokens": 0},
    }
    message = {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {
        "id": f"chatcmpl-{key[:24]}",
        "object": "chat.completion",
        "created": 1795348800,
        "model": MODEL,
        "choices": [choice],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }
    response = {"status_code": 200, "request_id": key[:32], "body": body}
    return {"id": f"batch_req_{key[:24]}", "custom_id": key, "response": response, "error": None}


class Bench:
    """One folder with an input of ``rows`` lines, a tenth of them twice."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows = folder, rows
        self.input = folder / "in.jsonl"
        kept = rows * 9 // 10
        with self.input.open("w") as file:
            file.writelines(
                f'{{"id":{n},"query":"cheap vegan brunch {n % kept} near the station"}}\n'
                for n in range(rows)
            )
        ask = Ask(model=MODEL, system=SYSTEM, prompt="{{ query }}", max_output_tokens=20)
        self.questions = Questions(ask=ask, model=MODEL, version=f"openai:{MODEL}")
        form = self.questions.row_form(row_of)
        assert form is not None
        self.form: RowForm = form
        self.plan = folder / "plan"
        self.planned: Planned | None = None

    def run_plan(self) -> int:
        arguments = {
            "questions": self.questions,
            "file": "in.jsonl",
            "max_tokens": 10**6,
            "max_bytes": 10**7,
        }
        processes = processes_for(self.input.stat().st_size)
        blocks = read_blocks(Input(path=str(self.input)))
        spilled = spill(blocks, self.plan, arguments=arguments, processes=processes)
        scope = Scope(requests=SHARD, bytes=200_000_000, tokens=None, constant=self.form.constant)
        self.planned = cut(self.plan, spilled, scope, sample=20)
        return self.rows

    def plain_plan(self) -> None:
        """Parse every input line, write every distinct row of the provider's file."""
        template = row_of(self.questions.request({"query": "x"}), "f" * 64)
        message = template["body"]["messages"][1]
        kept = self.rows * 9 // 10
        with self.input.open("rb") as lines, (self.folder / "plain").open("wb") as out:
            for number, line in enumerate(lines):
                message["content"] = orjson.loads(line)["query"]
                if number < kept:
                    out.write(orjson.dumps(template) + b"\n")

    def shards(self) -> Iterator[Path]:
        assert self.planned is not None
        for shard in self.planned.shards:
            yield self.plan / f"{shard.number:05}.rows"

    def run_upload(self) -> int:
        count = 0
        for path in self.shards():
            count += write_upload(path, self.form, self.folder / "upload.jsonl").requests
        return count

    def make_replies(self) -> None:
        for path in self.shards():
            with path.with_suffix(".out").open("wb") as out:
                for line in read_rows(path):
                    out.write(orjson.dumps(reply_of(line[:64].decode())) + b"\n")

    def run_ingest(self) -> int:
        from understudy_openai.wire_batch import batch_reply

        count = 0
        for path in self.shards():
            reader = Reader(path, make_checker(Check(json_schema=SCHEMA), None), {})
            account = reader.files([str(path.with_suffix(".out"))], batch_reply)
            assert not account.left
            account.answers.sort()
            with path.with_suffix(".answers").open("wb") as out:
                out.write(b"\n".join(account.answers) + b"\n")
            count += len(account.answers)
        return count

    def plain_ingest(self) -> None:
        """Parse every reply, write its answer."""
        with (self.folder / "plain").open("wb") as out:
            for path in self.shards():
                with path.with_suffix(".out").open("rb") as lines:
                    for line in lines:
                        row = orjson.loads(line)
                        body = row["response"]["body"]
                        kept = {
                            "message": body["choices"][0]["message"],
                            "finish_reason": body["choices"][0]["finish_reason"],
                            "usage": body["usage"],
                            "model": body["model"],
                        }
                        out.write(row["custom_id"].encode() + orjson.dumps(kept) + b"\n")

    def run_publish(self) -> int:
        cache = open_cache(self.folder / "cache")
        with cache.writer("bench", "one", model="m") as writer:
            for path in self.shards():
                lines = answer_lines(path.with_suffix(".answers"))
                rows = ((bytes.fromhex(key), value) for key, value in lines)
                writer.put(rows, source=path.stem)
            made = writer.publish()
        cache.close()
        return made.entries

    def plain_publish(self) -> None:
        """Parse every answer, write it again."""
        with (self.folder / "plain").open("wb") as out:
            for path in self.shards():
                for key, value in answer_lines(path.with_suffix(".answers")):
                    out.write(key.encode() + orjson.dumps(orjson.loads(value)) + b"\n")


def timed(act: Callable[[], Any]) -> tuple[Any, float, float]:
    """What ``act`` gives, its seconds of the wall, and of all its processes' CPU."""
    began, used = time.perf_counter(), os.times()
    result = act()
    now = os.times()
    cpu = sum(now[:4]) - sum(used[:4])
    return result, time.perf_counter() - began, cpu


def peak() -> float:
    """Peak memory of this process so far, in MB; its renderers are each below it or counted in."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def main() -> None:
    """Print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    columns = f"{'times plain':>12} {'by CPU':>10} {'peak MB':>8}"
    print(f"{'stage':14} {'rows/s':>10} {'rows/CPU s':>10} {columns}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), rows)
        stages = (
            ("plan", bench.run_plan, bench.plain_plan),
            ("upload files", bench.run_upload, None),
            ("ingest", bench.run_ingest, bench.plain_ingest),
            ("publish", bench.run_publish, bench.plain_publish),
        )
        for name, act, plain in stages:
            if name == "ingest":
                bench.make_replies()
            count, seconds, cpu = timed(act)
            memory = peak()
            times = [""] * 2
            if plain is not None:
                _, plain_seconds, plain_cpu = timed(plain)
                times = [f"{seconds / plain_seconds:.2f}", f"{cpu / plain_cpu:.2f}"]
            rates = f"{count / seconds:>10,.0f} {count / cpu:>10,.0f}"
            print(f"{name:14} {rates} {times[0]:>12} {times[1]:>10} {memory:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
