"""The public names and their signatures are those that were reviewed: a change shows here, and in the changelog."""

from pathlib import Path

from tests.public_api import lines


def test_the_public_api_is_the_reviewed_one() -> None:
    reviewed = (Path(__file__).parent / "public_api.txt").read_text().splitlines()
    found = list(lines())
    gone, new = sorted({*reviewed} - {*found}), sorted({*found} - {*reviewed})
    changes = [*(f"- {line}" for line in gone), *(f"+ {line}" for line in new)]
    assert changes == [], "if it is meant so: python -m tests.public_api > tests/public_api.txt, and CHANGELOG.md"
