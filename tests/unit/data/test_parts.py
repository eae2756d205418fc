"""Parts survive the way from one process to another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.parts import Part, PartBuilder, Record

records = st.builds(
    Record,
    line=st.integers(1, 1 << 40),
    side=st.integers(0, 2),
    text=st.binary(max_size=50),
    raw=st.binary(max_size=50),
    tokens=st.integers(0, 1 << 31),
    longest=st.integers(0, 1 << 31),
    digest=st.binary(min_size=16, max_size=16),
    asked=st.binary(min_size=16, max_size=16),
    source=st.integers(0, (1 << 64) - 1),
    reference=st.booleans(),
    score=st.floats(width=32, allow_nan=False),
)


@settings(deadline=None)
@given(
    given_records=st.lists(records, max_size=8),
    rejects=st.lists(st.tuples(st.integers(1, 99), st.sampled_from("abc"), st.text()), max_size=4),
    permutations=st.sampled_from([0, 4]),
)
def test_a_part_comes_back_as_it_went(
    given_records: list[Record], rejects: list[tuple[int, str, str]], permutations: int
) -> None:
    builder = PartBuilder(7)
    builder.lines, builder.blank = 100, 3
    texts = [(record.text, record.raw) for record in given_records]
    for record in given_records:
        builder.add(record)
    for line, reason, place in rejects:
        builder.reject(line, reason, place, b"rejected\n")
    rows = len(given_records) + len(rejects)
    signatures = np.arange(rows * permutations, dtype="<u4").reshape(rows, permutations)
    made = builder.done(signatures if permutations else None)
    back = Part.unpack(made.pack())
    assert (back.index, back.lines, back.blank) == (7, 100, 3)
    assert back.rejected == made.rejected
    assert back.first == made.first
    for name, column in made.columns.items():
        assert (back.columns[name] == column).all(), name
    assert (back.signatures == made.signatures).all()
    assert [(bytes(back.text(n)), bytes(back.raw(n))) for n in range(len(texts))] == texts
    assert all(bytes(back.text(n)) == b"rejected\n" for n in range(len(texts), rows))


def test_a_part_is_read_from_a_file(tmp_path: Path) -> None:
    builder = PartBuilder(0)
    builder.add(Record(line=1, side=0, text=b"one\n", raw=b"1"))
    builder.add(Record(line=2, side=2, text=b"two\n", raw=b"2"))
    path = tmp_path / "part"
    path.write_bytes(builder.done().pack())
    part = Part.load(path)
    assert bytes(part.text(1)) == b"two\n"
    assert part.columns["line"].tolist() == [1, 2]
