"""Is a release what its sources say, byte for byte, and can it be deployed as it is?"""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import package
import pytest
from package import BOOTSTRAPS, ROOT
from samtranslator.yaml_helper import yaml_parse
from stack import ARTIFACT

NOON = 1_795_348_800  # 22 November 2026
TEMPLATE = (ROOT / "template.yaml").read_text()


def test_a_zip_has_the_same_bytes_whenever_and_wherever_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap = ARTIFACT.read_bytes()
    zips = [tmp_path / name for name in ("here.zip", "there.zip")]
    package.pack(zips[0], bootstrap, NOON)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    before = os.umask(0o077)
    try:
        package.pack(zips[1], bootstrap, NOON)
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()
    assert zips[0].read_bytes() == zips[1].read_bytes()

    with zipfile.ZipFile(zips[0]) as archive:
        [entry] = archive.infolist()
        assert (entry.filename, entry.date_time) == ("bootstrap", (2026, 11, 22, 12, 0, 0))
        assert (entry.create_system, entry.external_attr >> 16) == (3, 0o100_755), "Lambda must be able to start it"
        assert archive.read(entry) == bootstrap


def test_a_time_before_zips_is_taken_for_their_first(tmp_path: Path) -> None:
    package.pack(tmp_path / "old.zip", b"", 0)
    with zipfile.ZipFile(tmp_path / "old.zip") as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_the_time_is_what_the_environment_says_or_else_that_of_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NOON))
    assert package.source_date_epoch() == NOON
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert package.source_date_epoch() >= 0


@pytest.mark.parametrize("architecture", BOOTSTRAPS)
def test_a_released_template_differs_in_the_code_alone(architecture: str) -> None:
    ours, released = yaml_parse(TEMPLATE), yaml_parse(package.released(TEMPLATE, architecture, "hallpass.zip"))
    function = released["Resources"]["Function"]
    assert function["Properties"].pop("CodeUri") == "hallpass.zip"
    assert {"BuildMethod", "BuildProperties"}.isdisjoint(function["Metadata"]), "nothing is built"
    assert released["Parameters"]["Architecture"].pop("AllowedValues") == [architecture]
    assert released["Parameters"]["Architecture"].pop("Default") == architecture

    function = ours["Resources"]["Function"]
    function["Properties"].pop("CodeUri")
    for name in ("BuildMethod", "BuildProperties"):
        function["Metadata"].pop(name)
    for name in ("AllowedValues", "Default"):
        ours["Parameters"]["Architecture"].pop(name)
    assert released == ours


def test_a_template_that_has_changed_is_not_released_unseen() -> None:
    with pytest.raises(ValueError, match="CodeUri"):
        package.released(TEMPLATE.replace("CodeUri: .\n", "CodeUri: src\n"), "arm64", "hallpass.zip")


def test_the_bill_of_materials_names_what_is_in_the_function_and_nothing_else() -> None:
    made = package.bill_of_materials(NOON)
    assert json.dumps(made) == json.dumps(package.bill_of_materials(NOON))
    components = {component["name"]: component for component in made["components"]}
    assert {"aws-sdk-sts", "aws-lc-sys", "jsonwebtoken", "lambda_http", "rustls"} <= components.keys()
    assert {"hallpass", "proptest", "cc", "libfuzzer-sys"}.isdisjoint(components)
    for component in made["components"]:
        assert component["hashes"][0]["content"], component
        assert component["licenses"][0]["expression"], component
    references = [component["bom-ref"] for component in made["components"]]
    assert len(references) == len(set(references))
    assert {need for each in made["dependencies"] for need in each["dependsOn"]} == set(references)
