"""What filters cost: reading any text, working a mask out on 100,000 items, and finding a mask again.

Run it with ``python tests/benchmarks/filters.py``. It fails when a limit that Endcap promises is not kept:
10 ms to read any filter, 300 ms to work out any mask once its texts are read, 1 ms a call once the mask is
kept, all of the processor, which the neighbours of a busy machine do not lengthen.
"""

import random
import sys
import time
from collections.abc import Callable

from endcap.sdk import CatalogView
from endcap.sdk.errors import InvalidInput
from endcap.sdk.filter_grammar import MAX_CONDITIONS, MAX_LENGTH
from endcap.sdk.filters import MAX_SEARCHES, Filter, parse_filter
from endcap.sdk.testing import SampleItem, catalog


ITEM_COUNT = 100_000
READ_LIMIT_MS = 10.0
MASK_LIMIT_MS = 300.0
CALL_LIMIT_MS = 1.0
REPEATS = 20

TEXTS = {
    "usual": 'category = "toys" AND price < 20 AND NOT brand:"Acme"',
    "10,000 terms": "a " * 10_000,
    "as many terms as fit": "a " * (MAX_LENGTH // 2),
    "as many conditions as allowed": "price<1 OR " * (MAX_CONDITIONS - 1) + "price<1",
    "as many values as allowed": "tags:(" + " OR ".join(["a*b"] * MAX_CONDITIONS) + ")",
    "opening parentheses": "(" * MAX_LENGTH,
    "deep parentheses": "-(" * 32 + "a" + ")" * 32,
    "operators": "=" * MAX_LENGTH,
    "negations": "-a " * (MAX_LENGTH // 3),
    "quotes": '"' * (MAX_LENGTH - 1),
    "empty texts": "'' " * (MAX_LENGTH // 3),
    "backslashes": '"' + "\\*" * (MAX_LENGTH // 2 - 1) + '"',
    "wildcards": "title:" + "*a" * (MAX_LENGTH // 2 - 3),
    "near timestamps": "2024-01-01T00:00:00" * (MAX_LENGTH // 19),
    "long number": "price<" + "1" * (MAX_LENGTH - 6),
    "unknown field": "x" * (MAX_LENGTH - 2) + "=1",
}

MASKS = {
    "nothing": "",
    "number": "price < 20",
    "time": "create_time > 2023-06-01T00:00:00Z",
    "list": "category:word7",
    "attribute": "attributes.colour = red",
    "id": "id = item-7",
    "title equal": 'title = "Word1*"',
    "title contains": "title:word77",
    "description contains": "description:word77",
    "value alone": "word77",
    "usual": TEXTS["usual"],
    "250 ids": "id = (" + " OR ".join(f"item-{row}" for row in range(250)) + ")",
    "250 groups": "group_id = (" + " OR ".join(f"group-{row}" for row in range(250)) + ")",
    "250 tags": "tags:(" + " OR ".join(f"word{number}" for number in range(250)) + ")",
    "as many searches as allowed": " OR ".join(f"title:none{word}" for word in range(MAX_SEARCHES)),
    "the same without a field": " OR ".join(f"word{word}" for word in range(MAX_SEARCHES // 2)),
    "the same in descriptions": " OR ".join(f"description:none{word}" for word in range(MAX_SEARCHES // 2)),
    "wildcards in titles": " OR ".join(f'title:"zz*q{word}"' for word in range(MAX_SEARCHES // 2)),
    "wildcards in descriptions": " OR ".join(f'description:"w*q{word}"' for word in range(MAX_SEARCHES // 4)),
    "one with many parts": f'title:"{"*d" * (MAX_SEARCHES - 2)}*zq"',
    "the same in a description": f'description:"{"*d" * (MAX_SEARCHES // 2 - 2)}*zq"',
}


def main() -> int:
    """Print what each filter costs; return 1 when a limit is not kept."""
    slowest_read = max(read_cost(name, text) for name, text in TEXTS.items())
    view = shop()
    filters = {name: parse_filter(text) for name, text in MASKS.items()}
    slowest_mask = 0.0
    for name, condition in filters.items():
        first = cost(lambda condition=condition: condition.mask(view), 1)  # type: ignore[misc]
        milliseconds = cost(lambda condition=condition: condition.mask(view), 3)  # type: ignore[misc]
        slowest_mask = max(slowest_mask, milliseconds)
        rows = int(condition.mask(view).sum())
        print(f"mask    {name:30} {milliseconds:10.3f} ms  {rows:7} rows  {first:10.3f} ms the first time")
    call = call_cost(filters["usual"], view)
    print(f"read    slowest {slowest_read:.3f} ms, {slowest_read / READ_LIMIT_MS:.2f} of the limit")
    print(f"mask    slowest {slowest_mask:.3f} ms, {slowest_mask / MASK_LIMIT_MS:.2f} of the limit")
    print(f"call    mask kept by text {call:.5f} ms, {call / CALL_LIMIT_MS:.5f} of the limit")
    kept = slowest_read <= READ_LIMIT_MS and slowest_mask <= MASK_LIMIT_MS and call <= CALL_LIMIT_MS
    return int(not kept)


def read_cost(name: str, text: str) -> float:
    """Print and return the milliseconds that reading a text takes."""
    outcome = "read"
    try:
        parse_filter(text)
    except InvalidInput as refused:
        outcome = f"refused: {refused}"
    milliseconds = cost(lambda: read(text), REPEATS)
    print(f"read    {name:30} {milliseconds:10.3f} ms  {outcome[:80]}")
    return milliseconds


def read(text: str) -> None:
    """Read a text that may be refused."""
    try:
        parse_filter(text)
    except InvalidInput:
        return


def call_cost(condition: Filter, view: CatalogView) -> float:
    """Return the milliseconds of a call that reads its filter and finds the mask by the text."""
    masks = {condition.text: condition.mask(view)}
    calls = 1_000
    return cost(lambda: [masks[parse_filter(condition.text).text] for _ in range(calls)], 5) / calls


def cost(work: Callable[[], object], repeats: int) -> float:
    """Return the milliseconds of the fastest of some runs on the processor, of all threads together."""
    runs = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        runs.append(time.process_time() - start)
    return min(runs) * 1_000


def shop() -> CatalogView:
    """Build a shop whose texts are made of 5,000 words."""
    generator = random.Random(0)
    words = [f"word{number}" for number in range(5_000)]

    def sentence(length: int) -> str:
        return " ".join(generator.choices(words, k=length))

    return catalog(
        SampleItem(
            f"item-{row}",
            sentence(7).title(),
            tuple(generator.sample(words[:500], 3)),
            price=generator.random() * 100,
            days_old=generator.random() * 400,
            description=sentence(50),
            brand=generator.choice(words[:3_000]),
            tags=tuple(generator.sample(words, 4)),
            attributes={"colour": generator.choice(["red", "green", "blue"])},
        )
        for row in range(ITEM_COUNT)
    )


if __name__ == "__main__":
    sys.exit(main())
