"""Files and batches on Azure's data plane."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai
import pytest

from azure_face_kit import ASK, lines

ROWS = b'{"messages": []}\n'


@pytest.fixture
def blob() -> Iterator[str]:
    """A URL on this machine, as a blob's with its signature would be."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/away"):
                self.send_response(302)
                self.send_header("location", "http://192.0.2.1/rows.jsonl")
            else:
                self.send_response(200 if self.path.startswith("/rows") else 404)
            self.end_headers()
            self.wfile.write(ROWS)

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_upload_answers_201_with_location_and_is_pending(azure) -> None:
    made = azure.data(
        "POST", "/files", files={"file": ("a.jsonl", ROWS)}, data={"purpose": "fine-tune"}
    )
    assert made.status_code == 201
    file = made.json()
    assert file["status"] == "pending"
    assert f"/openai/files/{file['id']}" in made.headers["location"]
    azure.sandbox.advance(1)
    assert azure.v1.files.retrieve(file["id"]).status == "processed"


def test_a_fine_tuning_file_that_is_no_jsonl_ends_in_error(azure) -> None:
    name = azure.upload(b"not json\n")
    shown = azure.classic.files.retrieve(name)
    assert shown.status == "error"
    assert "jsonlValidationFailed" in shown.status_details


def test_a_deleted_file_is_deleting_and_then_gone(azure) -> None:
    name = azure.upload(ROWS)
    gone = azure.data("DELETE", f"/files/{name}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert azure.data("GET", f"/files/{name}").json()["status"] == "deleting"
    azure.sandbox.advance(1)
    reply = azure.data("GET", f"/files/{name}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "notFound")
    assert name not in [f.id for f in azure.classic.files.list()]
    other = azure.upload(ROWS)
    assert azure.v1.files.delete(other).deleted


def test_files_are_imported_from_a_url_of_this_machine(azure, blob) -> None:
    body = {"content_url": f"{blob}/rows.jsonl?sig=s", "filename": "r.jsonl", "purpose": "batch"}
    made = azure.data("POST", "/files/import", json=body)
    assert made.status_code == 201
    assert made.headers["location"].split("?")[0].endswith(f"/openai/files/{made.json()['id']}")
    assert azure.classic.files.content(made.json()["id"]).content == ROWS


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/x", "file:///etc/passwd", "BLOB/gone", "BLOB/away"]
)
def test_imports_stay_on_this_machine_and_hide_the_signature(azure, blob, url) -> None:
    full = url.replace("BLOB", blob) + "?sig=planted"
    body = {"content_url": full, "filename": "r", "purpose": "batch"}
    refused = azure.data("POST", "/files/import", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "fileImportFailed"
    assert "planted" not in refused.text


def batch_rows(deployment: str, count: int = 4, url: str = "/chat/completions") -> bytes:
    return lines(
        [
            {
                "custom_id": f"r{i}",
                "method": "POST",
                "url": url,
                "body": {"model": deployment, "messages": ASK},
            }
            for i in range(count)
        ]
    )


def run_batch(azure, rows: bytes):
    made = azure.classic.batches.create(
        input_file_id=azure.upload(rows, "batch"),
        endpoint="/chat/completions",  # type: ignore[arg-type]
        completion_window="24h",
    )
    assert (made.output_file_id, made.error_file_id) == ("", "")
    batches = azure.classic.batches
    return azure.reach(lambda: batches.retrieve(made.id), "completed", "failed", step=2)


@pytest.fixture(scope="module")
def bulk(azure_running) -> str:
    azure_running.deploy("bulk", "gpt-4o-mini", version="2024-07-18", sku="GlobalBatch")
    return "bulk"


def test_batch_rows_are_reordered_without_id_and_errors_are_an_empty_file(azure, bulk) -> None:
    done = run_batch(azure, batch_rows(bulk))
    assert done.status == "completed"
    assert azure.classic.files.content(done.error_file_id).content == b""
    out = [r for r in azure.classic.files.content(done.output_file_id).text.splitlines() if r]
    made = [json.loads(line) for line in out]
    names = [r["custom_id"] for r in made]
    assert sorted(names) == ["r0", "r1", "r2", "r3"] != names
    assert not any("id" in r for r in made)
    choice = made[0]["response"]["body"]["choices"][0]
    assert choice["content_filter_results"]["hate"] == {"filtered": False, "severity": "safe"}
    (entry,) = azure.bill("batch", done.id)
    assert entry["model"] == "gpt-4o-mini-2024-07-18"


def test_a_batch_takes_its_url_with_v1_too(azure, bulk) -> None:
    assert run_batch(azure, batch_rows(bulk, url="/v1/chat/completions")).status == "completed"


def test_fine_tuned_models_cannot_batch(azure, azure_job) -> None:
    refused = azure.put("tuned-batch", azure_job.fine_tuned_model, sku="GlobalBatch")
    assert refused.json()["error"]["code"] == "InvalidResourceProperties"
    azure.deploy("tuned", azure_job.fine_tuned_model)
    done = run_batch(azure, batch_rows("tuned"))
    azure.drop("tuned")
    assert done.status == "failed"
    assert "cannot batch" in done.errors.data[0].message


def test_a_batch_is_for_one_deployment_and_has_no_byte_order_mark(azure, bulk) -> None:
    mixed = run_batch(azure, batch_rows(bulk, 1) + batch_rows("other", 2)[0:])
    assert mixed.status == "failed"
    marked = run_batch(azure, b"\xef\xbb\xbf" + batch_rows(bulk))
    assert marked.errors.data[0].line == 1


def test_a_batch_must_wait_for_its_file(azure, bulk) -> None:
    file = azure.classic.files.create(file=("b.jsonl", batch_rows(bulk)), purpose="batch")
    with pytest.raises(openai.BadRequestError, match="not processed yet"):
        azure.classic.batches.create(
            input_file_id=file.id,
            endpoint="/chat/completions",  # type: ignore[arg-type]
            completion_window="24h",
        )


def test_a_batch_deployment_answers_no_chat(azure, bulk) -> None:
    with pytest.raises(openai.BadRequestError, match="batches only"):
        azure.classic.chat.completions.create(model=bulk, messages=ASK)
