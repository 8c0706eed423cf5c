"""The rows that a page token carries."""

from hypothesis import given
from hypothesis import strategies as st

from endcap.server.recording.row_set import decode_rows, encode_rows


@given(st.sets(st.integers(0, 2**31 - 1), max_size=50))
def test_rows_survive_the_way_into_a_token_and_back(rows: set[int]) -> None:
    assert decode_rows(encode_rows(rows)) == tuple(sorted(rows))


def test_a_thousand_rows_of_a_million_fit_a_token() -> None:
    assert len(encode_rows(range(0, 1_000_000, 1_000))) < 3_000
