"""Whatever is sent to whichever RPC, the answer is neither UNKNOWN nor a bug of ours."""

import re
import subprocess
import sys
from pathlib import Path


MESSAGES = 250
"""Messages to each RPC; some 10,000 in all."""

ROOT = Path(__file__).parents[2]


def test_random_and_mutated_messages_to_every_rpc_get_a_stated_status() -> None:
    contract = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "protos").rglob("*.proto"))

    ran = subprocess.run(
        [sys.executable, ROOT / "tests/server/fuzzing.py", str(MESSAGES)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    fuzzed = re.findall(rf"^[\w.]+\.(\w+) +{MESSAGES} messages", ran.stdout, re.MULTILINE)
    assert {"Recommend", "Check", *re.findall(r"^  rpc (\w+)", contract, re.MULTILINE)} <= set(fuzzed)
