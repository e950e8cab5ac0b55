import argparse
import subprocess
import sys

import pytest

import config
import kafka_scraper_producer
from config import SettingsError
from pipeline.process.arguments import RegionLine, chosen_regions, chosen_tasks, parse_regions
from pipeline.wire.regions import REGIONS

TEXT = """\
# for the daily run
us 300M 2B   # small companies
us 2b 10B

FR
"""


def chosen(**given):
    arguments = {"regions": None, "regions_file": None, "market_cap_min": None, "market_cap_max": None, **given}
    return chosen_tasks(argparse.Namespace(**arguments), config.load(environ={}), kafka_scraper_producer.regions)


def test_a_line_is_a_region_with_its_band_or_the_usual_one():
    assert parse_regions(TEXT, "daily.txt") == [
        RegionLine("us", "300000000", "2000000000"),
        RegionLine("us", "2000000000", "10000000000"),
        RegionLine("fr"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fr\nxx\n", r"^daily\.txt:2: region 'xx' is unknown: expected one of ae, ar"),
        ("# only\n\nfr 300M\n", r"^daily\.txt:3: 'fr 300M': expected a region, or a region and two bounds, such as fr 300M 2B"),
        ("fr 2B 300M\n", r"^daily\.txt:1: market-cap-min 2B is above market-cap-max 300M"),
        ("fr 300M lots\n", r"^daily\.txt:1: market-cap-max: 'lots' is no market capitalization"),
        ("fr 300M 2B\nfr 300M 2000M\n", r"^daily\.txt:2: fr 300M 2000M stands in line 1 already"),
        ("# nothing\n", r"^daily\.txt: no region: expected lines such as"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(text, expected):
    with pytest.raises(SettingsError, match=expected):
        parse_regions(text, "daily.txt")


def test_all_means_every_region_there_is():
    regions = chosen_regions("all", kafka_scraper_producer.regions)
    assert [region["code"] for region in regions] == list(REGIONS)
    assert len(regions) == 59
    assert {"code": "hk", "name": "Hong Kong"} in regions


def test_the_file_s_lines_are_the_tasks(tmp_path):
    path = tmp_path / "daily.txt"
    path.write_text(TEXT)
    us, fr = {"code": "us", "name": "United States"}, {"code": "fr", "name": "France"}
    usual = ("50M", "1T")
    assert chosen(regions_file=path, market_cap_min=usual[0], market_cap_max=usual[1]) == [
        (us, "300000000", "2000000000"),
        (us, "2000000000", "10000000000"),
        (fr, *usual),
    ]
    assert chosen(regions_file=path, regions="fr") == [(fr, "300M", "2B")]
    with pytest.raises(SettingsError, match=r"--regions de: no line of .*daily\.txt is of these regions"):
        chosen(regions_file=path, regions="de")


@pytest.mark.parametrize("script", ["kafka_scraper_producer.py", "run_pipeline.py"])
def test_a_file_that_is_wrong_is_exit_code_2_and_one_line(script, tmp_path):
    path = tmp_path / "daily.txt"
    path.write_text("fr\nnowhere\n")
    for name, expected in ((path, "daily.txt:2: region 'nowhere' is unknown"), (tmp_path / "none.txt", "none.txt can't be read")):
        done = subprocess.run(
            [sys.executable, script, "--regions-file", str(name)], cwd=config.PROJECT, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == config.EXIT_SETTINGS
        assert expected in done.stderr
        assert len(done.stderr.splitlines()) == 1
