from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from understudy.errors import ConfigError
from understudy.validation import nearest, parse, read_toml


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: str = "red"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner = Inner()
    many: list[Inner] = []
    maybe: Inner | None = None
    count: int = 0
    key: SecretStr | None = None
    epochs: Annotated[int, Field(le=50)] | Literal["auto"] = "auto"

    @field_validator("count")
    @classmethod
    def _small(cls, value: int) -> int:
        if value > 9:
            message = "at most 9"
            raise ValueError(message)
        return value


def test_nearest_names_the_nearest_and_all():
    assert nearest("colur", ["shape", "colour"]) == "did you mean 'colour'? Valid: colour, shape."
    assert nearest("zzz", ["a"]) == "Valid: a."
    assert nearest("a", []) == "Valid: none."


@settings(deadline=None)
@given(st.text(min_size=1), st.sets(st.text(min_size=1), min_size=1))
def test_nearest_always_lists_everything(name, valid):
    words = nearest(name, valid)
    assert all(one in words for one in valid)


@settings(deadline=None)
@given(st.sets(st.text("abcdef", min_size=3, max_size=12), min_size=1), st.data())
def test_a_valid_name_is_nearest_to_itself(valid, data):
    name = data.draw(st.sampled_from(sorted(valid)))
    assert nearest(name, valid).startswith(f"did you mean {name!r}?")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"inner": {"color": 1}}, r"file: \[inner.color\].*did you mean 'colour'"),
        ({"many": [{"colr": 1}]}, r"\[many.0.colr\].*did you mean 'colour'"),
        ({"maybe": {"colr": 1}}, r"did you mean 'colour'"),
        (
            {"cuont": 1},
            r"\[cuont\].*did you mean 'count'.*Valid: count, epochs, .*maybe",
        ),
        ({"count": 12}, r"\[count\] at most 9$"),
        ({"count": "x", "inner": 3}, r"\[inner\].*; \[count\]"),
        ({"epochs": 51}, r"^file: \[epochs\] Input should be less.* 50, or Input .* 'auto'$"),
    ],
)
def test_parse_names_field_and_fix(data, words):
    with pytest.raises(ConfigError, match=words):
        parse(Outer, data, where="file")


def test_parse_does_not_repeat_secrets():
    with pytest.raises(ConfigError) as caught:
        parse(Outer, {"key": ["sk-planted-secret"]}, where="file")
    assert "planted" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_parse_returns_the_model():
    assert parse(Outer, {"count": 3}, where="file").count == 3


def test_read_toml(tmp_path):
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1\r\n")
    assert read_toml(file) == {"a": 1}
    file.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match=r"a.toml: not UTF-8 at byte 5"):
        read_toml(file)
    file.write_text("a = 1\nb = ?\n")
    with pytest.raises(ConfigError, match=r"a.toml: not valid TOML:.*line 2"):
        read_toml(file)
    with pytest.raises(ConfigError, match=r"there is no such file; `understudy init"):
        read_toml(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\); check the path"):
        read_toml(tmp_path)
