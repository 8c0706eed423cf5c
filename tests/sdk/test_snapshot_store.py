"""A snapshot in an object store is there whole or not at all, and what was altered is refused."""

import gc
import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import obstore
import polars as pl
import pytest
from obstore.store import S3Store, from_url

from endcap.sdk.errors import (
    AlreadyExists,
    DataLoss,
    EndcapError,
    FailedPrecondition,
    InvalidInput,
    Unavailable,
)
from endcap.sdk.snapshot import (
    Snapshot,
    conform,
    event_schema,
    exposure_schema,
    snapshot_writer,
    writing,
)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PART_ROWS", 2)


def events_at(*times: int) -> pl.DataFrame:
    rows = [("ann", f"item {time}", "view", time) for time in times]
    events = pl.DataFrame(rows, schema=list(event_schema())[:4], orient="row")
    return conform(events, event_schema())


def write(place: str | Path, *times: int) -> None:
    with snapshot_writer(place) as writer:
        writer.append("events", events_at(*times))
        writer.finish(shop="default", as_of=5, currency="GBP")


def store_of(url: str) -> S3Store:
    store = from_url(url, client_options={"allow_http": True})
    assert isinstance(store, S3Store)
    return store


def names(url: str) -> list[str]:
    return sorted(entry["path"] for batch in obstore.list(store_of(url)) for entry in batch)


def test_a_snapshot_is_read_from_the_store_as_it_was_written(bucket: str) -> None:
    assigned = {"experiment": "test", "variant": "b", "propensity": 0.5}
    exposure = ("ann", 7, "request", "home", [assigned], 1, "item 1", "ease", "ease@3", -0.5)
    with snapshot_writer(f"{bucket}/shop/monday") as writer:
        writer.append("events", events_at(1, 2, 3))
        writer.append("exposures", pl.DataFrame([exposure], schema=exposure_schema(), orient="row"))
        written = writer.finish(shop="default", as_of=7, currency="GBP")

    snapshot = Snapshot.open(f"{bucket}/shop/monday")

    assert snapshot.manifest == written
    assert snapshot.events().equals(events_at(1, 2, 3))
    assert snapshot.exposures().rows() == [exposure]
    assert snapshot.items().is_empty()
    assert Snapshot.open(snapshot.folder) == snapshot


def test_equal_tables_have_equal_fingerprints_wherever_they_are(bucket: str, tmp_path: Path) -> None:
    write(f"{bucket}/here", 1, 2, 3)
    write(tmp_path / "there", 1, 2, 3)

    here, there = Snapshot.open(f"{bucket}/here"), Snapshot.open(str(tmp_path / "there"))

    assert here.manifest == there.manifest


def test_a_copy_from_the_store_is_private_and_goes_with_the_snapshot(bucket: str) -> None:
    write(bucket, 1)
    snapshot = Snapshot.open(bucket)
    folder = snapshot.folder

    assert folder.stat().st_mode & 0o077 == 0
    del snapshot
    gc.collect()
    assert not folder.exists()


def test_a_long_table_is_many_files_and_one_table(tmp_path: Path) -> None:
    with snapshot_writer(tmp_path / "snapshot") as writer:
        for time in range(1, 6):
            writer.append("events", events_at(time))
        writer.finish(shop="default", as_of=5)

    snapshot = Snapshot.open(tmp_path / "snapshot")

    parts = snapshot.manifest.parts("events")
    assert parts == ["events-00000.parquet", "events-00001.parquet", "events-00002.parquet"]
    assert [pl.read_parquet(snapshot.folder / part).height for part in parts] == [2, 2, 1]
    assert snapshot.manifest.counts["events"] == 5
    late = snapshot.scan("events").filter(pl.col("time") > 3).select("item_id").collect()
    assert late["item_id"].to_list() == ["item 4", "item 5"]


def test_until_it_is_whole_there_is_no_snapshot(bucket: str) -> None:
    with snapshot_writer(bucket) as writer:
        writer.append("events", events_at(1, 2, 3))
        assert names(bucket) == ["events-00000.parquet"]
        with pytest.raises(InvalidInput, match="holds no finished snapshot"):
            Snapshot.open(bucket)
        writer.finish(shop="default", as_of=3)

    assert Snapshot.open(bucket).events().height == 3


def test_one_that_fails_half_way_leaves_nothing(bucket: str) -> None:
    with pytest.raises(RuntimeError, match="stop"), snapshot_writer(bucket) as writer:
        writer.append("events", events_at(1, 2, 3))
        raise RuntimeError("stop")

    assert names(bucket) == []


def test_a_prefix_that_is_taken_is_not_written_over(bucket: str) -> None:
    write(f"{bucket}/monday", 1)

    with pytest.raises(InvalidInput, match="choose a new prefix"):
        write(f"{bucket}/monday", 2)

    write(f"{bucket}/mon", 3)
    assert Snapshot.open(f"{bucket}/monday").events()["time"].to_list() == [1]


def test_of_two_that_write_to_one_prefix_one_wins_and_is_whole(bucket: str) -> None:
    with pytest.raises(AlreadyExists, match="choose a new place"), snapshot_writer(bucket) as late:
        write(bucket, 1, 2, 3)
        late.append("events", events_at(4, 5))

    assert Snapshot.open(bucket).events()["time"].to_list() == [1, 2, 3]


@pytest.mark.parametrize("content", [b"something else", None])
def test_an_altered_or_missing_object_is_found(content: bytes | None, bucket: str) -> None:
    write(bucket, 1)
    if content is None:
        obstore.delete(store_of(bucket), "events-00000.parquet")
    else:
        obstore.put(store_of(bucket), "events-00000.parquet", content)

    with pytest.raises(DataLoss, match="events-00000.parquet of the snapshot is missing or altered"):
        Snapshot.open(bucket)


@pytest.mark.parametrize(
    "name", ["../../outside", "/etc/hosts", "events-1.parquet", "events-00000.parquet/x"]
)
def test_a_manifest_that_names_other_files_is_rejected(name: str, bucket: str) -> None:
    write(bucket, 1)
    store = store_of(bucket)
    manifest = json.loads(bytes(obstore.get(store, "manifest.json").bytes()))
    manifest["files"][name] = "0" * 64
    obstore.put(store, "manifest.json", json.dumps(manifest).encode())

    with pytest.raises(DataLoss, match="manifest cannot be read"):
        Snapshot.open(bucket)


def errors_of(url: str) -> list[EndcapError]:
    """Return what reading says, and what writing says."""
    with pytest.raises(EndcapError) as reading:
        Snapshot.open(url)
    with pytest.raises(EndcapError) as writing_:
        write(url, 1)
    return [reading.value, writing_.value]


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_named() -> None:
    for error in errors_of("s3://no-such-bucket/shop"):
        assert isinstance(error, FailedPrecondition)
        assert str(error) == "bucket 'no-such-bucket' does not exist: create it, or name another"


def test_without_credentials_it_says_which_to_set(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # Amazon's own machines ask this address.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{closed_port()}")

    for error in errors_of(bucket):
        assert isinstance(error, FailedPrecondition)
        assert str(error) == (
            f"there are no credentials for {bucket}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a store that lets nobody in."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>InvalidAccessKeyId</Code></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refuse) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_refused_credentials_are_told_from_missing_ones(
    bucket: str, refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", refusing)

    for error in errors_of(bucket):
        assert isinstance(error, FailedPrecondition)
        assert str(error).startswith(f"the object store refuses these credentials for {bucket}: ")


def test_a_store_that_is_away_may_be_asked_again(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port()}")

    for error in errors_of(bucket):
        assert isinstance(error, Unavailable)
        assert str(error).startswith(f"the object store of {bucket} does not answer: try again")


@pytest.mark.parametrize("url", ["s3://", "s3:///shop", "ftp://bucket/shop", "http://bucket/shop", "://"])
def test_other_urls_are_rejected(url: str) -> None:
    for error in errors_of(url):
        assert isinstance(error, InvalidInput)
        assert "names no object store: write s3://BUCKET/PREFIX" in str(error)


def closed_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
