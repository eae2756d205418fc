"""``understudy init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.output import note, say
from understudy.errors import ConfigError

__all__ = ["RECIPE", "init"]

RECIPE = """\
# A recipe says everything of one run. Try it with `understudy run {file}`.
# Names are checked: a misspelt one is refused with the nearest valid one.

# What the run is called: a-z, 0-9, '.', '_', '-'.
name = "{name}"
# What your applications call; it moves only to a passing version.
alias = "{name}"

[source]
kind = "calls"             # calls: a call log; chat: fine-tuning rows; preference: pairs for DPO
path = "calls.jsonl"       # relative to this file

[cleaning]                 # every dropped row is kept in rejected.jsonl with its reason
drop = ["truncated", "flagged", "incomplete", "error", "duplicate"]
# max_row_tokens = 16384
# min_score = {{ helpful = 0.7 }}   # rows logged with a lower score are dropped

[split]                    # shares of conversations: one conversation is never on both sides
train = 0.8
validation = 0.1
test = 0.1
seed = 17

[train]
backend = "openai"         # see `understudy backends`, or [backends.NAME] in understudy.toml
base_model = "gpt-4.1-mini-2025-04-14"
method = "supervised"      # or "dpo", "reinforcement" where the backend has it
# suffix = "{name}"
# seed = 17

[train.hyperparameters]    # those of the backend
# n_epochs = 3

[evaluation]               # on held-out rows
scorer = "exact"           # exact, json_exact, json_f1, normalised, or one of a plugin
bar = 0.8                  # the lower end of the score's interval must reach this
margin = 0.02              # and it may be this much worse than the alias's present model
confidence = 0.95
compare_base = true        # also score the base model

[budget]                   # a hard stop before money is spent
limit_usd = 20
on_exhausted = "attention" # running work goes on and the job then asks for you; or "cancel"
# name = "shared"          # runs that name the same budget share it
"""


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("recipe.toml"),
) -> None:
    """Write a commented recipe. A file that is there already is left alone."""
    if path.exists():
        raise ConfigError(
            f"{path} is there already and was left as it is; choose another name, or remove it"
        )
    text = RECIPE.format(name=_name(path), file=path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    say(f"Wrote {path}.")
    note(f"Next: set [source] path and [train], then `understudy run {path}`.")


def _name(path: Path) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in path.stem.lower())
    name = kept.strip("-")[:60].rstrip("-")
    return "my-student" if name in {"", "recipe"} else name
