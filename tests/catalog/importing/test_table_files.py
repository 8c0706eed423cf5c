"""Files of rows: every format gives the same, a bad line costs itself, and any position is a start."""

import csv
import io
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.catalog.importing.table_files import csv_file, json_lines_file, parquet_file
from endcap.catalog.importing.table_files.opening import open_table_file
from endcap.catalog.importing.table_files.table_file import START, Chunk, Position
from endcap.catalog.importing.table_files.text_lines import MAX_LINE_BYTES
from endcap.sdk.errors import InvalidInput


AS_NAMED = {"item_id": "item_id", "title": "title"}
HEADER = "item_id,title\n"


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (csv_file, json_lines_file, parquet_file):
        monkeypatch.setattr(module, "CHUNK_SIZE", 2)


def _file(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _chunks(path: Path, start: Position = START, sources: dict[str, str] | None = None) -> list[Chunk]:
    return list(open_table_file(path).chunks(sources or AS_NAMED, start))


def _rows(path: Path, start: Position = START) -> list[tuple[object, ...]]:
    return [row for chunk in _chunks(path, start) for row in chunk.rows.rows()]


def _malformed(path: Path) -> list[tuple[int, str]]:
    return [(found.line, found.reason) for chunk in _chunks(path) for found in chunk.malformed]


def test_every_format_gives_the_same_texts(tmp_path: Path) -> None:
    rows = {"item_id": ["mug", "pot", "pan"], "title": ["Mug", None, "Pan"]}
    pl.DataFrame(rows).write_csv(tmp_path / "items.csv")
    pl.DataFrame(rows).write_csv(tmp_path / "items.tsv", separator="\t")
    pl.DataFrame(rows).write_ndjson(tmp_path / "items.jsonl")
    pl.DataFrame(rows).write_parquet(tmp_path / "items.parquet")

    for ending, first in (("csv", 2), ("tsv", 2), ("jsonl", 1), ("parquet", 1)):
        file = tmp_path / f"items.{ending}"
        assert open_table_file(file).names == ["item_id", "title"]
        assert _rows(file) == [(first, "mug", "Mug"), (first + 1, "pot", None), (first + 2, "pan", "Pan")]


def test_a_value_of_any_type_is_a_text(tmp_path: Path) -> None:
    row = {"flag": True, "count": 3, "price": 6.95, "list": ["a", "b"], "object": {"a": 1}, "none": None}
    pl.DataFrame([row]).write_parquet(tmp_path / "items.parquet")
    _file(tmp_path / "items.jsonl", json.dumps(row))
    names = {name: name for name in row}

    for ending in ("parquet", "jsonl"):
        (chunk,) = _chunks(tmp_path / f"items.{ending}", sources=names)
        assert chunk.rows.rows() == [(1, "true", "3", "6.95", '["a", "b"]', '{"a": 1}', None)]


def test_moments_of_a_parquet_file_are_unix_milliseconds(tmp_path: Path) -> None:
    moments = pl.Series("time", ["2010-12-01 08:26:00.5"]).str.to_datetime()
    frame = pl.DataFrame({"naive": moments, "zoned": moments.dt.replace_time_zone("Europe/Paris")})
    frame.with_columns(day=moments.dt.date()).write_parquet(tmp_path / "events.parquet")

    (chunk,) = _chunks(
        tmp_path / "events.parquet", sources={name: name for name in ("naive", "zoned", "day")}
    )

    assert chunk.rows.rows() == [(1, "1291191960500", "1291188360500", "1291161600000")]


def test_a_field_of_a_parquet_object_without_a_value_is_not_there(tmp_path: Path) -> None:
    texts = [{"de": {"title": "Becher", "description": None}, "fr": None}, {"de": None, "fr": None}, None]
    pl.DataFrame({"localized_texts": texts}).write_parquet(tmp_path / "items.parquet")

    chunks = _chunks(tmp_path / "items.parquet", sources={"localized_texts": "localized_texts"})

    assert [text for chunk in chunks for text in chunk.rows["localized_texts"]] == [
        '{"de": {"title": "Becher"}}',
        "{}",
        None,
    ]


def test_objects_of_json_lines_say_which_columns_each_has(tmp_path: Path) -> None:
    file = _file(tmp_path / "items.jsonl", '{"a": 1}\nnone\n{"a": null, "b": 2}\n')

    chunks = _chunks(file, sources={"a": "a"})

    assert [set(names) for chunk in chunks for names in chunk.names or ()] == [{"a"}, {"a", "b"}]


def test_fields_may_hold_delimiters_quotes_and_lines(tmp_path: Path) -> None:
    file = _file(
        tmp_path / "items.csv", '\ufeffitem_id;title\r\nmug;"A ""red"";\r\nmug"\r\n\r\npot;5" pot\r\n'
    )

    assert open_table_file(file).names == ["item_id", "title"]
    assert _rows(file) == [(2, "mug", 'A "red";\r\nmug'), (5, "pot", '5" pot')]


def test_a_line_that_is_no_row_costs_itself_alone(tmp_path: Path) -> None:
    long = b"x" * (3 * MAX_LINE_BYTES)
    lines = [b"mug,Mug", b'pot,"Pot', b"pan", b"\xff,Pan", b"pan," + long, b'pan,"a"b', b"cup,Cup", b'tin,"']
    items = _file(tmp_path / "items.csv", HEADER.encode() + b"\n".join(lines))
    objects = [b'{"item_id": "mug"}', b"{", b"[1]", b'{"item_id": NaN}', b"\xff", long, b'"\\ud800"']
    events = _file(tmp_path / "events.jsonl", b"\n".join([*objects, b"", b'{"item_id": "cup"}']))

    assert [row[:2] for row in _rows(items)] == [(2, "mug"), (8, "cup")]
    assert _malformed(items) == [
        (3, "a quote is not closed, or something follows one"),
        (4, "the line has 1 fields, but the header has 2"),
        (5, "the line is not UTF-8"),
        (6, "the line is longer than 131072 bytes"),
        (7, "a quote is not closed, or something follows one"),
        (9, "a quote is not closed, or something follows one"),
    ]
    assert [row[:2] for row in _rows(events)] == [(1, "mug"), (9, "cup")]
    assert _malformed(events) == [
        (2, "the line is not JSON"),
        (3, "the line is not a JSON object"),
        (4, "the line is not JSON"),
        (5, "the line is not UTF-8"),
        (6, "the line is longer than 131072 bytes"),
        (7, "the line holds half a character"),
    ]


def test_a_quote_that_is_never_closed_costs_a_bounded_search(tmp_path: Path) -> None:
    file = _file(tmp_path / "items.csv", HEADER + 'mug,"Mug\n' + "pot,Pot\n" * (MAX_LINE_BYTES // 8 + 5))

    rows = _rows(file)

    assert _malformed(file) == [(2, "a quote is not closed, or something follows one")]
    assert (rows[0], len(rows)) == ((3, "pot", "Pot"), MAX_LINE_BYTES // 8 + 5)


def test_deep_json_is_read_or_rejected(tmp_path: Path) -> None:
    lines = [f'{{"item_id": {"[" * depth}{"]" * depth}}}' for depth in (10, 500, 900, 2_000, 60_000)]
    file = _file(tmp_path / "items.jsonl", "\n".join(lines))

    assert len(_rows(file)) + len(_malformed(file)) == len(lines)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=5)


@given(rows=st.lists(st.tuples(_TEXTS.map(lambda text: f"-{text}"), _TEXTS), max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_reading_goes_on_from_the_position_of_any_chunk(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([("item_id", "title"), *rows])
    items = _file(tmp_path / "items.csv", stream.getvalue())
    objects = [json.dumps({"item_id": item, "title": title}) for item, title in rows]
    events = _file(tmp_path / "events.jsonl", "\n".join(objects))
    table = pl.DataFrame(rows, schema={"item_id": pl.String, "title": pl.String}, orient="row")
    table.write_parquet(tmp_path / "users.parquet")
    expected = [(item, title or None) for item, title in rows]

    for file in (items, events, tmp_path / "users.parquet"):
        chunks = _chunks(file)
        assert [row[1:] for row in _rows(file)] == expected
        for number, chunk in enumerate(chunks):
            assert [row[1:] for row in _rows(file, chunk.position)] == expected[2 * number + 2 :]
        if chunks:
            assert chunks[-1].position.offset == open_table_file(file).size


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("items.csv", "", "has no header"),
        ("items.csv", 'item_id,"title\n', "has no header"),
        ("items.csv", HEADER.encode("utf-16"), "save it as UTF-8"),
        ("items.csv", b"item_id,\xff\n", "is not UTF-8"),
        ("items.jsonl", "{}".encode("utf-16"), "save it as UTF-8"),
        ("items.parquet", HEADER, "is not a Parquet file"),
        ("items.xlsx", "", "must end in .csv, .tsv, .jsonl, .ndjson, .parquet"),
    ],
)
def test_a_file_of_another_format_is_rejected(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        open_table_file(_file(tmp_path / name, content))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"items\.csv is missing: check its name"):
        open_table_file(tmp_path / "items.csv")
