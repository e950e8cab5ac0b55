"""docs/ratios.md has every ratio and every reason, and nothing else."""

import re
from pathlib import Path

from pipeline.ratios.formulas import NOT_FOR_FINANCIALS, NOT_WITHOUT_CURRENT_ITEMS, PIOTROSKI, RATIOS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "ratios.md").read_text()


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


#: Ratio → the rest of its row.
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section("Formulas"), re.MULTILINE))


def test_the_table_has_every_ratio_in_order_and_no_other() -> None:
    assert tuple(ROWS) == RATIOS


def test_the_table_says_what_does_not_apply_to_financial_companies() -> None:
    def says(name: str, words: str) -> bool:
        reference = re.search(r"as `(\w+)`$", ROWS[name])
        return words in ROWS[name] or (reference is not None and words in ROWS[reference[1]])

    told = {name for name in RATIOS if says(name, "financial companies")}
    assert told == NOT_FOR_FINANCIALS - {"cash_conversion_cycle"}  # "as its parts"
    assert {name for name in RATIOS if says(name, "no current items")} == NOT_WITHOUT_CURRENT_ITEMS


def test_every_reason_that_the_code_gives_is_explained() -> None:
    code = "".join(path.read_text() for path in (Path(__file__).resolve().parents[2] / "pipeline" / "ratios").glob("*.py"))
    given = set(
        re.findall(
            r'"(no_\w+|\w+_unit|split_unclear|period_length|fx_unavailable|currency_changed|unexpected_sign|non_finite|not_\w+)"', code
        )
    )
    explained = set(re.findall(r"^\| `(\w+)(?::<\w+>)?` \|", section("Why a value is NULL"), re.MULTILINE))
    assert explained == given - PIOTROSKI.keys() | {"missing", "non_positive"}
