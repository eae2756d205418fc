from __future__ import annotations

from cli_kit import Shop

from understudy.cli.exit_codes import ExitCode


def test_what_a_finished_run_left_can_be_read(shop: Shop):
    job_id = shop.call("run", "recipe.toml", "--json").json["job"]["id"]

    header, row = shop.call("jobs", "list", "--state", "ready").rows
    assert dict(zip(header, row, strict=True))["id"] == job_id
    assert shop.call("jobs", "list", "--state", "failed").rows[1:] == []

    told = shop.call("jobs", "events", job_id, "--json").json
    assert told[0]["from_state"] == "created"
    assert told[-1]["to_state"] == "ready"
    log = shop.call("jobs", "events", job_id, "--provider", "--json").json
    assert any("train_loss" in event["metrics"] for event in log)
    assert shop.call("jobs", "events", job_id, "--provider").rows[0] == ["time", "level", "message"]

    header, row = shop.call("models", "list").rows
    shown = dict(zip(header, row, strict=True))
    assert (shown["id"], shown["verdict"], shown["aliases"]) == ("intents@1", "passed", "intents")
    assert shown["served by"] == "understudy-sandbox"
    model = shop.call("models", "show", "intents", "--json").json
    assert model["lineage"]["job"] == job_id
    assert [one["passed"] for one in model["evaluations"]] == [True]
    words = shop.call("models", "show", "intents@").rows
    assert ["dataset", model["lineage"]["dataset"]] in words
    assert any(row[2:3] == ["student"] and row[-1] == "passed" for row in words)


def test_a_checkpoint_becomes_a_version_and_an_alias_moves_there_and_back(shop: Shop):
    done = shop.call("run", "recipe.toml", "--json").json["job"]
    job_id = done["id"]
    said = shop.call("jobs", "attach", job_id, done["remote_id"])
    assert said.code == ExitCode.USAGE
    assert "has no submission to attach" in said.err

    kept = shop.call("jobs", "checkpoints", job_id, "--json").json
    first = kept[0]
    assert shop.call("jobs", "checkpoints", job_id).rows[1][:2] == [str(first["step"]), first["id"]]

    said = shop.call("models", "register", job_id, "--checkpoint", "7777")
    assert said.code == ExitCode.USAGE
    assert first["id"] in said.err
    said = shop.call("models", "register", job_id, "--checkpoint", str(first["step"]))
    assert said.out == f"intents@2 is {first['model']}.\n"
    again = shop.call("models", "register", job_id, "--checkpoint", first["id"])
    assert again.out == said.out
    model = shop.call("models", "show", "intents@2", "--json").json
    assert model["lineage"]["checkpoint"]["id"] == first["id"]
    assert model["evaluations"] == []
    assert model["owner"] == "understudy-sandbox"

    said = shop.call("models", "alias", "intents", "intents@2")
    assert said.code == ExitCode.USAGE
    assert "has not been evaluated" in said.err
    said = shop.call("models", "alias", "intents", "intents@2", "--force")
    assert said.out == "intents points at intents@2; it was intents@1.\n"
    assert shop.call("models", "rollback", "intents").out.startswith("intents points at intents@1")
    moves = shop.call("models", "alias", "intents", "--json").json
    assert [(move["to_model"], move["forced"]) for move in reversed(moves)] == [
        ("intents@1", False),
        ("intents@2", True),
        ("intents@1", False),
    ]
    assert shop.call("models", "rollback", "intents").code == ExitCode.USAGE


def test_an_estimate_sends_nothing_and_tells_the_sources_of_its_prices(shop: Shop):
    before = shop.sandbox.state()["requests"]
    said = shop.call("estimate", "recipe.toml", "--offline")
    assert said.code == ExitCode.OK
    assert shop.sandbox.state()["requests"] == before
    assert said.out.startswith("Dataset ds-")
    assert "training price: " in said.out
    data = shop.call("estimate", "recipe.toml", "--json").json
    assert float(data["estimate"]["at_most"]) >= float(data["estimate"]["expected"]) > 0
    assert data["dataset"]["kept"] == 60
    assert shop.call("jobs", "list", "--json").json == []


def test_a_dataset_shows_counts_and_where_rejected_rows_stand_but_not_their_text(shop: Shop):
    path = shop.folder / "rows.jsonl"
    planted = '{"messages": [{"role": "usr", "content": "planted text"}]}\n'
    path.write_text(path.read_text() + planted)
    shop.call("estimate", "recipe.toml", "--offline")
    (listed,) = shop.call("datasets", "list", "--json").json
    assert (listed["kept"], listed["dropped"], listed["lines"]) == (60, 2, 62)
    begin = listed["id"].removeprefix("ds-")[:6]
    shown = shop.call("datasets", "show", begin)
    assert [row[0] for row in shown.rows[1:4]] == ["train", "validation", "test"]
    assert ["broken_json", "1"] in shown.rows
    assert shop.call("datasets", "show", begin, "--json").json == listed

    said = shop.call("datasets", "inspect", begin)
    assert said.rows[1][:2] == ["rows.jsonl:8", "broken_json"]
    assert said.rows[2][0] == "rows.jsonl:62:messages.0.role"
    assert "planted text" not in said.out + said.err
    (only,) = shop.call("datasets", "inspect", begin, "--reason", "unknown_role", "--json").json
    assert "row" not in only
    assert "planted text" in shop.call("datasets", "inspect", begin, "--rows").out


def test_empty_projects_say_what_to_do_next(shop: Shop):
    assert "understudy run RECIPE" in shop.call("jobs", "list").err
    assert "understudy run RECIPE" in shop.call("models", "list").err
    assert "understudy estimate RECIPE" in shop.call("datasets", "list").err
