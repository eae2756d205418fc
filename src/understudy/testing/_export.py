"""The suite on exports, for backends whose models are files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from understudy.backend import Backend, Capabilities, SupportsExport, SupportsInfer
from understudy.errors import InvalidData, NotFound, OutcomeUnknown
from understudy.model import (
    Absent,
    ChatRequest,
    ExportSpec,
    Found,
    Handle,
    ModelRef,
    RemoteState,
)
from understudy.testing._base import KEY, Base, need, raw_for
from understudy.testing._guards import no_network, no_sleep
from understudy.testing._poll import rebuilt
from understudy.testing.provider import ProviderAdapter

__all__ = ["ExportTests"]

E_KEY = f"{KEY}.export.1"
_ROWS = 2


def _held_out(folder: Path) -> Path:
    rows = [
        {
            "id": f"row-{number}",
            "messages": [{"role": "user", "content": f"turn off the light in room {number}"}],
            "tools": [],
            "label": json.dumps({"room": number}),
        }
        for number in range(_ROWS + 1)
    ]
    path = folder / "held-out.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


class ExportTests(Base):
    """One key, one export; what it made is said with its sha256, and answers."""

    @pytest.fixture
    def exporter(self, backend: Backend, capabilities: Capabilities) -> SupportsExport:
        """The backend, where its models are files."""
        need(capabilities.export)
        assert isinstance(backend, SupportsExport)
        return backend

    @pytest.fixture
    def export_spec(
        self,
        backend: Backend,
        exporter: SupportsExport,
        provider: ProviderAdapter,
        job: Handle,
        tmp_path: Path,
    ) -> ExportSpec:
        """Two formats of a trained model."""
        provider.make_status(job, raw_for(provider, RemoteState.SUCCEEDED))
        trained: ModelRef = backend.model(job)
        formats = exporter.export_formats()[:2]
        file = _held_out(tmp_path)
        return ExportSpec(
            model=trained.id,
            base_model=trained.base_model,
            name="conformance",
            formats=formats,
            serve=formats[-1],
            held_out=str(file),
            held_out_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            rows=_ROWS,
            max_output_tokens=16,
        )

    @pytest.fixture
    def export(self, exporter: SupportsExport, export_spec: ExportSpec) -> Handle:
        """It, started under ``E_KEY``."""
        return exporter.start_export(export_spec, key=E_KEY)

    @pytest.fixture
    def ended(self, exporter: SupportsExport, provider: ProviderAdapter, export: Handle) -> Handle:
        """It, at its end."""
        provider.finish_export(export)
        assert exporter.poll_export(export).state is RemoteState.SUCCEEDED
        return export

    def test_formats_are_told_offline(
        self, exporter: SupportsExport, provider: ProviderAdapter
    ) -> None:
        before = provider.requests()
        with no_network() as tried:
            formats = exporter.export_formats()
        assert tried == []
        assert provider.requests() == before
        assert len(set(formats)) == len(formats) >= 1

    def test_export_is_one_start_that_waits_for_nothing(
        self, exporter: SupportsExport, provider: ProviderAdapter, export_spec: ExportSpec
    ) -> None:
        with no_sleep() as slept:
            handle = exporter.start_export(export_spec, key=E_KEY)
            status = exporter.poll_export(handle)
        assert provider.count_exports() == 1
        assert handle.kind == "export"
        assert slept == []
        assert status.raw
        assert not status.state.terminal, "it cannot be done in the moment it was asked for"
        with pytest.raises(NotFound):
            exporter.exported(handle)

    def test_export_started_twice_under_one_key_is_one(
        self, exporter: SupportsExport, provider: ProviderAdapter, export_spec: ExportSpec
    ) -> None:
        first = exporter.start_export(export_spec, key=E_KEY)
        again = exporter.start_export(export_spec, key=E_KEY)
        assert again.id == first.id
        assert provider.count_exports() == 1

    def test_lost_start_of_an_export_is_found_once(
        self, exporter: SupportsExport, provider: ProviderAdapter, export_spec: ExportSpec
    ) -> None:
        provider.lose_export_reply()
        with pytest.raises(OutcomeUnknown):
            exporter.start_export(export_spec, key=E_KEY)
        provider.wait(provider.backend_spec.capabilities.list_lag + 1)
        fresh = provider.fresh_backend()
        assert isinstance(fresh, SupportsExport)
        found = fresh.find_export(export_spec, key=E_KEY)
        assert isinstance(found, Found)
        assert found.handle.kind == "export"
        assert provider.count_exports() == 1

    def test_export_of_another_key_is_not_found(
        self, exporter: SupportsExport, export_spec: ExportSpec, export: Handle
    ) -> None:
        assert isinstance(exporter.find_export(export_spec, key=E_KEY), Found), export.id
        assert isinstance(exporter.find_export(export_spec, key=f"{E_KEY}-other"), Absent)

    def test_unknown_format_is_refused(
        self, exporter: SupportsExport, provider: ProviderAdapter, export_spec: ExportSpec
    ) -> None:
        wrong = dataclasses.replace(export_spec, formats=(*export_spec.formats, "q0_none"))
        with pytest.raises(InvalidData):
            exporter.start_export(wrong, key=E_KEY)
        assert provider.count_exports() == 0

    def test_exported_files_are_those_that_were_asked_for(
        self, exporter: SupportsExport, export_spec: ExportSpec, ended: Handle
    ) -> None:
        files = exporter.exported(ended).files
        assert {one.format for one in files if one.answers} == set(export_spec.formats)
        assert all(one.path and one.bytes > 0 for one in files)
        assert {len(one.sha256) for one in files} == {64}
        assert len({one.sha256 for one in files}) == len(files)

    def test_every_file_and_the_trained_model_answered_every_row(
        self, exporter: SupportsExport, export_spec: ExportSpec, ended: Handle
    ) -> None:
        for source in ("trained", *export_spec.formats):
            answers = list(exporter.export_answers(ended, source))
            assert len(answers) == export_spec.rows, source
            assert all(isinstance(text, str) for text in answers)

    def test_exported_model_answers_under_the_name_that_is_told(
        self,
        backend: Backend,
        exporter: SupportsExport,
        capabilities: Capabilities,
        ended: Handle,
    ) -> None:
        need(capabilities.infer)
        assert isinstance(backend, SupportsInfer)
        request = ChatRequest(
            model=exporter.exported(ended).model,
            messages=({"role": "user", "content": "hello there"},),
            sampling={"max_tokens": 4},
        )
        assert backend.complete(request, timeout=60).message["role"] == "assistant"

    def test_failed_export_says_why(
        self, exporter: SupportsExport, provider: ProviderAdapter, export: Handle
    ) -> None:
        provider.make_export_fail(export)
        status = exporter.poll_export(export)
        assert status.state is RemoteState.FAILED
        assert status.problem is not None
        assert status.problem.message
        with pytest.raises(NotFound):
            exporter.exported(export)

    def test_exports_handle_survives_json_and_a_new_process(
        self, provider: ProviderAdapter, export: Handle
    ) -> None:
        assert rebuilt(export) == export
        fresh = provider.fresh_backend()
        assert isinstance(fresh, SupportsExport)
        assert not fresh.poll_export(rebuilt(export)).state.terminal
        provider.finish_export(export)
        assert fresh.exported(rebuilt(export)).files

    def test_card_of_an_export_may_be_written_again(
        self, exporter: SupportsExport, ended: Handle
    ) -> None:
        card = {"name": "conformance", "scores": {"trained": "1.000"}, "lineage": {"job": "j"}}
        before = exporter.exported(ended)
        for _ in range(2):
            exporter.describe_export(ended, card)
        assert exporter.exported(ended) == before
