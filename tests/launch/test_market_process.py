from __future__ import annotations

from pathlib import Path

import pytest

import run_pipeline
from config import SettingsError
from launch.market_process import MarketProcess


def test_an_option_that_the_market_refuses_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^argument --market-day: '401': expected a whole number from 0 to 400$"):
        MarketProcess.start(tmp_path / "market.log", ["--day", "401"])


@pytest.mark.parametrize("text", ["nan", "-5", "0", "inf", "soon", "1e9"])
def test_a_stall_timeout_is_a_number_of_seconds(text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["run_pipeline.py", "--stall-timeout", text])
    with pytest.raises(SystemExit) as ended:
        run_pipeline.parse_arguments()
    assert ended.value.code == 2
    assert f"'{text}': expected a number of seconds above 0" in capsys.readouterr().err
