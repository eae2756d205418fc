"""The suite proves itself: each mutant of the fake fails it, in the test that is meant for it."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

import pytest

from understudy.testing import BackendSuite

MUTANTS = [
    Path(__file__).with_name(name)
    for name in ("mutants.py", "mutants_batch.py", "mutants_deploy.py", "mutants_export.py")
]

# Seventy suites of sixty-five tests run in the first test's set-up.
pytestmark = pytest.mark.timeout(300)

CAUGHT_BY = {
    "AnswersFewerRows": "test_every_file_and_the_trained_model_answered_every_row",
    "AsksForItsFormats": "test_formats_are_told_offline",
    "AsksForItsLimits": "test_batch_limits_are_offline_and_say_their_source",
    "BatchHandleIsNotJson": "test_batchs_handle_survives_json_and_a_new_process",
    "BatchesOfThisProcess": "test_batchs_handle_survives_json_and_a_new_process",
    "BatchesWithoutSayingSo": "test_capability_agrees_with_protocol",
    "CancelOfEndedBatchRaises": "test_batch_may_be_cancelled_twice_and_keeps_its_part",
    "CancelOfEndedRaises": "test_cancel_ends_in_cancelled_and_may_be_repeated",
    "CancelledIsFailed": "test_cancelled_is_never_failed",
    "CancelsNoBatch": "test_batch_may_be_cancelled_twice_and_keeps_its_part",
    "CancelsTheEnded": "test_terminal_states_stay",
    "CardChangesTheFiles": "test_card_of_an_export_may_be_written_again",
    "CheckpointsBackwards": "test_checkpoints_are_in_order",
    "CompletesTwice": "test_completion_is_one_request",
    "ConstructionAsksTheProvider": "test_construction_does_no_io",
    "CreatesTwo": "test_create_sends_one_paid_request",
    "CutsTheTexts": "test_batch_row_is_pure_json_with_the_texts_as_given",
    "DeploymentFailsWithoutAWord": "test_failed_deployment_says_why",
    "DeploymentHandleIsNotJson": "test_deployments_handle_survives_json_and_a_new_process",
    "DeploymentsOfThisProcess": "test_deployments_handle_survives_json_and_a_new_process",
    "DeploysAgainOn429": "test_rate_limited_deployment_is_not_resent",
    "DeploysWithoutSayingSo": "test_capability_agrees_with_protocol",
    "DropsTheLastRow": "test_batch_gives_every_row_back_once",
    "EstimateIsUnbounded": "test_estimate_is_offline_and_bounded",
    "EventsRepeat": "test_events_are_oldest_first_and_go_on_after_an_id",
    "ExpiredHasFailed": "test_expired_batch_keeps_its_part",
    "ExpiredRowsAreInvalid": "test_expired_batch_keeps_its_part",
    "ExportFailsWithoutAWord": "test_failed_export_says_why",
    "ExportsAnewEachTime": "test_export_started_twice_under_one_key_is_one",
    "ExportsOfThisProcess": "test_exports_handle_survives_json_and_a_new_process",
    "ExportsWithoutSayingSo": "test_capability_agrees_with_protocol",
    "FailsWithoutAWord": "test_failed_job_says_why",
    "FetchesAllAnew": "test_fetched_files_are_not_fetched_again",
    "FindsAnyBatch": "test_batch_of_another_key_is_not_found",
    "FindsAnyExport": "test_export_of_another_key_is_not_found",
    "FindsAnything": "test_job_of_another_key_is_not_found",
    "FindsByNameAlone": "test_deployment_of_another_key_is_not_found",
    "FindsNoBatch": "test_lost_reply_of_a_batch_is_found_once",
    "FindsNoDeployment": "test_lost_reply_of_a_deployment_is_found_once",
    "FindsNoExport": "test_lost_start_of_an_export_is_found_once",
    "FindsNothing": "test_created_job_is_found_by_key",
    "ForgetsAFile": "test_exported_files_are_those_that_were_asked_for",
    "ForgetsPause": "test_pause_and_resume_may_be_repeated",
    "ForgetsTheEnd": "test_list_tells_whose_deployment_it_is",
    "ForgetsTheOwner": "test_list_tells_whose_deployment_it_is",
    "GivesNoReason": "test_each_missing_capability_has_a_reason",
    "GoneIsNotFound": "test_deployment_may_be_stopped_twice",
    "GuessesTheSku": "test_unknown_sku_is_refused",
    "HandleIsNotJson": "test_handles_survive_json_and_a_new_process",
    "HandleNeedsThisProcess": "test_handles_survive_json_and_a_new_process",
    "HidesSurplus": "test_second_job_of_one_key_is_never_hidden",
    "HidesSurplusBatches": "test_second_batch_of_one_key_is_never_hidden",
    "InventsAName": "test_batch_reply_refuses_a_row_that_names_no_request",
    "KeyIsNotSent": "test_create_sends_one_paid_request",
    "LeavesUnknownFormatsOut": "test_unknown_format_is_refused",
    "LifecycleAsksTwice": "test_lifecycle_asks_once",
    "LimitsFromNowhere": "test_batch_limits_are_offline_and_say_their_source",
    "ListsNothing": "test_list_shows_the_job",
    "LostBatchIsUnavailable": "test_lost_reply_of_a_batch_is_found_once",
    "LostDeploymentIsUnavailable": "test_lost_reply_of_a_deployment_is_found_once",
    "LostReplyIsUnavailable": "test_lost_reply_is_found_once",
    "MissingBatchHasFailed": "test_missing_batch_is_not_found",
    "MissingIsFailed": "test_missing_job_is_not_found",
    "ModelBeforeItIsThere": "test_model_is_there_once_it_succeeded",
    "NamesEachDeploymentAnew": "test_deployment_started_twice_under_one_key_is_one",
    "NamesTheModelItself": "test_exported_model_answers_under_the_name_that_is_told",
    "OneFileForAllBatches": "test_batch_upload_twice_with_one_key_leaves_one_file",
    "OneFileForAllKeys": "test_upload_of_another_key_is_another_file",
    "OpenParams": "test_params_refuse_unknown_names",
    "OpenSettings": "test_settings_refuse_unknown_names",
    "OverQuotaIsAnyFailure": "test_batch_over_the_quota_says_so",
    "PaysForUpload": "test_upload_is_unpaid",
    "PollManyAsksForEach": "test_poll_many_agrees_with_poll_in_fewer_requests",
    "PollsTwice": "test_poll_looks_once_and_never_sleeps",
    "PutsAgainOnTrouble": "test_lost_reply_of_a_deployment_is_found_once",
    "ResendsOn429": "test_rate_limited_create_is_not_resent",
    "ResendsOn500": "test_create_is_not_resent_after_500",
    "ResendsOnCut": "test_lost_reply_is_found_once",
    "RetriesCompletion": "test_rate_limited_completion_is_not_retried",
    "RowsInHandle": "test_no_secret_in_handles_and_statuses",
    "SaysItCannotPause": "test_capability_agrees_with_protocol",
    "SaysNothingOfGoneFiles": "test_files_that_are_gone_are_named",
    "ScalesNothing": "test_deployment_can_be_scaled",
    "SecretInCause": "test_echoed_secret_is_not_in_the_error",
    "SecretInError": "test_echoed_secret_is_not_in_the_error_of_a_create",
    "SecretInLog": "test_nothing_leaks_into_logs",
    "SecretInRepr": "test_no_secret_in_reprs",
    "SendsTheBatchAgainOn429": "test_rate_limited_batch_is_not_resent",
    "SendsTheBatchAgainOnTrouble": "test_lost_reply_of_a_batch_is_found_once",
    "ServesAtOnce": "test_poll_of_a_deployment_looks_once_and_never_sleeps",
    "SleepsInBatchPoll": "test_poll_of_a_batch_looks_once_and_never_sleeps",
    "SleepsInDeploymentPoll": "test_poll_of_a_deployment_looks_once_and_never_sleeps",
    "SleepsInPoll": "test_poll_looks_once_and_never_sleeps",
    "StartsExportAgainOnTrouble": "test_lost_start_of_an_export_is_found_once",
    "StartsTwoBatches": "test_batch_is_one_paid_request_that_waits_for_nothing",
    "StopOfTheGoneRaises": "test_deployment_may_be_stopped_twice",
    "StopsNothing": "test_deployment_may_be_stopped_twice",
    "TakesAPartForTheWhole": "test_broken_download_goes_on_and_is_whole",
    "TakesOverNames": "test_name_of_another_models_deployment_is_refused",
    "TargetIsElsewhere": "test_spec_points_at_this_backend",
    "TellsNoName": "test_model_answers_through_its_deployment_alone",
    "UnknownIsFailed": "test_unknown_status_is_unknown",
    "UnknownRaises": "test_every_documented_status_is_mapped",
    "UploadsAgain": "test_upload_twice_with_one_key_leaves_one_file",
    "UploadsTheBatchAgain": "test_batch_upload_twice_with_one_key_leaves_one_file",
    "ValidateAsksTheProvider": "test_validate_is_offline",
    "WaitsForTheBatch": "test_batch_is_one_paid_request_that_waits_for_nothing",
    "WaitsForTheExport": "test_export_is_one_start_that_waits_for_nothing",
    "WaitsInPoll": "test_poll_looks_once_and_never_sleeps",
    "WaitsOutRateLimits": "test_rate_limit_is_reported_and_not_waited_for",
    "WaitsUntilItServes": "test_deployment_is_one_paid_request_that_waits_for_nothing",
}


@pytest.fixture(scope="module")
def caught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The tests that failed, by mutant; all suites run in one process of their own."""
    report = tmp_path_factory.mktemp("mutants") / "report.xml"
    quick = [
        "-q",
        "--tb=no",
        "-r",
        "N",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:anyio",
    ]
    command = [sys.executable, "-m", "pytest", *map(str, MUTANTS), *quick]
    done = subprocess.run(
        [*command, f"--junitxml={report}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout[-2000:]
    failed: dict[str, set[str]] = defaultdict(set)
    for case in ET.parse(report).iter("testcase"):
        if case.find("failure") is not None:
            mutant = case.attrib["classname"].rpartition(".Test")[2]
            failed[mutant].add(case.attrib["name"].partition("[")[0])
    return failed


@pytest.mark.parametrize("mutant", sorted(CAUGHT_BY))
def test_mutant_fails_the_test_meant_for_it(caught: dict[str, set[str]], mutant: str) -> None:
    assert CAUGHT_BY[mutant] in caught[mutant]


def test_every_mutant_is_listed_and_caught(caught: dict[str, set[str]]) -> None:
    assert set(caught) == set(CAUGHT_BY)


def test_every_test_of_the_suite_fails_on_some_mutant(caught: dict[str, set[str]]) -> None:
    tests = {name for name in dir(BackendSuite) if name.startswith("test_")}
    asleep = tests - set().union(*caught.values())
    assert asleep == set()
