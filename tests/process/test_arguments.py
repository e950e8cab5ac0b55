import argparse
import subprocess
import sys
from datetime import date

import pytest

import config
import kafka_dead_letters
import kafka_processing_consumer
import kafka_scraper_producer
import kafka_ui
import run_pipeline
from config import SettingsError
from pipeline.process.arguments import asked_band, chosen_bands, chosen_regions, read_bands, write_bands
from pipeline.wire.bands import WantedBand
from pipeline.wire.regions import REGIONS, RegionBand

TEXT = """\
# for the daily run
us 300M 2B   # small companies
us 2b 10B
jp 50B 300B jpy
gb 1M 2M Local

FR
"""


def chosen(**given):
    names = ("regions", "regions_file", "market_cap_min", "market_cap_max", "market_cap_currency")
    arguments = {**dict.fromkeys(names), **given}
    return chosen_bands(argparse.Namespace(**arguments), config.load(environ={}), kafka_scraper_producer.regions)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fr\nxx\n", r"^daily\.txt:2: region 'xx' is unknown: expected one of ae, ar"),
        ("# only\n\nfr 300M\n", r"^daily\.txt:3: 'fr 300M': expected a region, or a region and two bounds, such as fr 300M 2B or jp"),
        ("fr 2B 300M\n", r"^daily\.txt:1: market-cap-min 2B is above market-cap-max 300M"),
        ("fr 300M lots\n", r"^daily\.txt:1: market-cap-max: 'lots' is not a market capitalization"),
        ("fr 300M 2B\nfr 300M 2000M\n", r"^daily\.txt:2: fr 300M 2000M is in line 1 already"),
        ("jp 50B 300B YEN JPY\n", r"^daily\.txt:1: 'jp 50B 300B YEN JPY': expected a region"),
        ("gb 1M 2M GBp\n", r"^daily\.txt:1: market-cap-currency is 'GBp': expected a currency's ISO code such as USD, or local"),
        ("fr JPY\n", r"^daily\.txt:1: 'fr JPY': expected a region"),
        (b"us\nfr # sant\xe9\n", r"^daily\.txt:2: not in UTF-8: save the file as UTF-8$"),
        ("fr\n" * 400_000, r"^--regions-file daily\.txt is larger than 1,000,000 bytes"),
        ("# nothing\n", r"^daily\.txt: no region: expected lines such as"),
    ],
)
def test_errors_name_file_and_line(text, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daily.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match=expected):
        chosen(regions_file="daily.txt")


def test_all_means_every_known_region():
    regions = chosen_regions("all", kafka_scraper_producer.regions)
    assert [region["code"] for region in regions] == list(REGIONS)
    assert len(regions) == 59
    assert {"code": "hk", "name": "Hong Kong"} in regions


def test_each_line_of_the_file_is_a_task(tmp_path):
    path = tmp_path / "daily.txt"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert chosen(regions_file=path, market_cap_min="50M", market_cap_max="1T", market_cap_currency="eur") == [
        ("us", 300_000_000, 2_000_000_000, "EUR"),
        ("us", 2_000_000_000, 10_000_000_000, "EUR"),
        ("jp", 50_000_000_000, 300_000_000_000, "JPY"),
        ("gb", 1_000_000, 2_000_000, "local"),
        ("fr", 50_000_000, 1_000_000_000_000, "EUR"),
    ]
    assert chosen(regions_file=path, regions="fr") == [("fr", 300_000_000, 2_000_000_000, "USD")]
    with pytest.raises(SettingsError, match=r"--regions de: .*daily\.txt has no line for these regions"):
        chosen(regions_file=path, regions="de")


@pytest.mark.parametrize("script", ["kafka_scraper_producer.py", "run_pipeline.py"])
def test_an_invalid_file_is_exit_code_2_and_one_line(script, tmp_path):
    path = tmp_path / "daily.txt"
    path.write_text("fr\nnowhere\n")
    for name, expected in ((path, "daily.txt:2: region 'nowhere' is unknown"), (tmp_path / "none.txt", "none.txt can't be read")):
        done = subprocess.run(
            [sys.executable, script, "--regions-file", str(name)], cwd=config.PROJECT, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == config.EXIT_SETTINGS
        assert expected in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_bands_without_a_currency_use_that_of_the_setting():
    settings = config.load(environ={"MARKET_CAP_CURRENCY": "local", "MARKET_CAP_MAX": "1B"})
    assert asked_band(settings, "jp", None, None, None) == ("jp", 300_000_000, 1_000_000_000, "local")
    assert asked_band(settings, "jp", "1K", "2K", "USD") == ("jp", 1000, 2000, "USD")
    with pytest.raises(SettingsError, match="market-cap-currency is 'yens'"):
        asked_band(settings, "jp", None, None, "yens")
    with pytest.raises(SettingsError, match="region 'xx' is unknown"):
        asked_band(settings, "xx", None, None, None)
    with pytest.raises(SettingsError, match="MARKET_CAP_CURRENCY is 'pounds'"):
        config.load(environ={"MARKET_CAP_CURRENCY": "pounds"})


def test_the_arguments_for_a_producer_read_back_with_their_rates(tmp_path):
    wanted = WantedBand(300_000_000, 2_000_000_000, "USD", 149.2, date(2026, 11, 27))
    bands = [RegionBand("jp", 44_700_000_000, 299_000_000_000, wanted), RegionBand("fr", 1, 2)]
    write_bands(tmp_path / "tasks.json", bands)
    assert read_bands(tmp_path / "tasks.json") == bands


@pytest.mark.parametrize(
    ("script", "given"),
    [
        (kafka_ui, "--port ٣"),
        (kafka_ui, "--port 65536"),
        (kafka_dead_letters, "list --newer-than ٣h"),
        (kafka_dead_letters, "list --older-than x"),
        (kafka_processing_consumer, "--max-age 5"),
        (run_pipeline, "--max-age 5"),
        (kafka_dead_letters, "list --limit ²"),
        (kafka_dead_letters, "list --limit 0"),
        (run_pipeline, "--scrapers 1_0"),
        (run_pipeline, "--processors ६"),
        (run_pipeline, "--stall-timeout ١٢"),
        (run_pipeline, "--stall-timeout nan"),
        (run_pipeline, "--stall-timeout 1_0"),
        (run_pipeline, "--demo --stocks ٣٠"),
        (run_pipeline, "--nonsense \x1b[31m"),
    ],
)
def test_an_invalid_argument_is_one_line_with_its_option(script, given, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [f"{script.__name__}.py", *given.split()])
    with pytest.raises(SystemExit) as ended:
        script.main()
    complained = capsys.readouterr().err
    assert ended.value.code == config.EXIT_SETTINGS
    assert complained.count("\n") == 1
    assert complained[:-1].isprintable()
    assert complained.startswith(f"{script.__name__}.py: ")
    assert given.split()[-2] in complained
