"""Is a release what its sources say, byte for byte, and can it be deployed as it is?"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import package
import pytest
from package import BUILT, ROOT
from paths import ARTIFACT, COMMAND
from samtranslator.yaml_helper import yaml_parse

NOON = 1_795_348_800  # 22 November 2026
TEMPLATE = (ROOT / "template.yaml").read_text()
# With a function more, of which the template says no more than it must.
OTHER = """
  Other:
    Type: AWS::Serverless::Function
    Metadata:
      BuildMethod: rust-cargolambda
      BuildProperties:
        Binary: other
    Properties:
      Description: Another function

      CodeUri: .
      Handler: bootstrap
"""
WITH_OTHER = TEMPLATE.replace("\nOutputs:\n", f"{OTHER}\nOutputs:\n")


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


@pytest.mark.parametrize("architecture", BUILT)
@pytest.mark.parametrize("template", [TEMPLATE, WITH_OTHER], ids=["ours", "with another function"])
def test_a_released_template_differs_in_the_code_alone(template: str, architecture: str) -> None:
    ours, released = yaml_parse(template), yaml_parse(package.released(template, "1.2.3", architecture))
    for name, resource in ours["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        binary = resource["Metadata"].pop("BuildProperties")["Binary"]
        assert resource["Metadata"].pop("BuildMethod") == "rust-cargolambda"
        if not resource["Metadata"]:
            resource.pop("Metadata")
        resource["Properties"]["CodeUri"] = f"hallpass-{binary}-1.2.3-{architecture}.zip"
        assert released["Resources"][name] == resource, "nothing is built"
    ours["Parameters"]["Architecture"] |= {"AllowedValues": [architecture], "Default": architecture}
    assert released == ours


def test_every_function_of_the_template_is_built_and_packed() -> None:
    functions = [r for r in yaml_parse(WITH_OTHER)["Resources"].values() if r["Type"] == "AWS::Serverless::Function"]
    named = [function["Metadata"]["BuildProperties"]["Binary"] for function in functions]
    assert package.binaries(WITH_OTHER) == named
    assert package.binaries(TEMPLATE) == named[:-1]
    for target, built in (("artifact", "build/lambda"), ("artifact-arm64", "build/lambda-arm64")):
        # What make would do: it must ask for the same binaries.
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
        [command] = [line for line in done.stdout.splitlines() if line.startswith("cargo lambda build")]
        assert re.findall(r"--bin (\w+)", command) == package.binaries(TEMPLATE)
        assert command.endswith(f"--lambda-dir {built}")


def test_the_command_line_is_built_static_and_for_every_processor_of_its_kind() -> None:
    for target, built in (("static", package.BUILT_CLI["x86_64"]), ("static-arm64", package.BUILT_CLI["arm64"])):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
        [command] = [line for line in done.stdout.splitlines() if line.startswith("cargo lambda build")]
        assert "--disable-optimizations" in command, "they would be for Lambda's processors"
        [triple] = re.findall(r"--target (\S+)", command)
        assert triple in package.CLI[1]
        assert command.endswith(f"--lambda-dir {built.relative_to(ROOT)}")


def elf(machine: int, *headers: int) -> bytes:
    """A 64-bit ELF file with program headers of these types, and nothing else."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, len(headers), 64, 0, 0)
    return ident + head + b"".join(struct.pack("<I", kind).ljust(56, b"\0") for kind in headers)


def test_a_program_with_a_loader_is_not_static() -> None:
    load, dynamic, interp = 1, 2, 3
    assert not package.interpreter(elf(62, load, dynamic))
    assert package.interpreter(elf(62, load, interp, dynamic))
    assert package.interpreter(COMMAND.read_bytes()), "built for this machine alone"


def test_a_program_for_another_processor_is_not_packed(tmp_path: Path) -> None:
    path = tmp_path / "bootstrap"
    path.write_bytes(elf(183))
    assert package.for_machine(path, "arm64") == elf(183)
    with pytest.raises(SystemExit, match="for machine 183, not for x86_64"):
        package.for_machine(path, "x86_64")


def test_the_command_line_is_packed_with_its_pages_and_always_to_the_same_bytes(tmp_path: Path) -> None:
    pages = package.pages(COMMAND)
    packed = [tmp_path / name for name in ("here.tar.gz", "there.tar.gz")]
    package.pack_cli(packed[0], b"program", pages, NOON)
    before = os.umask(0o077)
    try:
        package.pack_cli(packed[1], b"program", dict(reversed(package.pages(COMMAND).items())), NOON)
    finally:
        os.umask(before)
    assert packed[0].read_bytes() == packed[1].read_bytes()

    with tarfile.open(packed[0]) as archive:
        entries = {entry.name: entry for entry in archive.getmembers()}
        assert {entry.mtime for entry in entries.values()} == {NOON}
        assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries.values()} == {(0, 0, "", "")}
        assert {entry.mode for name, entry in entries.items() if name != "hallpass"} == {0o644}
        assert entries["hallpass"].mode == 0o755
        contents = {name: file.read() for name in entries if (file := archive.extractfile(name))}
    assert contents.pop("hallpass") == b"program"
    assert contents == pages
    completions = [name for name in contents if name.startswith("completions/")]
    assert sorted(completions) == sorted(f"completions/{name}" for name in package.COMPLETIONS.values())
    for name in completions:
        assert b"grants" in contents[name], name
    assert {"man/man1/hallpass.1", "man/man1/hallpass-login.1", "man/man1/hallpass-grants-plan.1"} <= contents.keys()


@pytest.mark.parametrize("place", ["CodeUri: .", "BuildMethod: rust-cargolambda"])
def test_a_template_that_has_changed_is_not_released_unseen(place: str) -> None:
    for template in (TEMPLATE, WITH_OTHER):
        with pytest.raises(ValueError, match="function"):
            package.released(template.replace(f"{place}\n", f"{place}/src\n", 1), "1.2.3", "arm64")


def test_the_function_does_not_say_where_it_was_built() -> None:
    """Else each builder would make other bytes of the same sources."""
    bootstrap = ARTIFACT.read_bytes()
    homes = [os.environ.get("CARGO_HOME", str(Path.home() / ".cargo")), str(Path.home()), str(ROOT)]
    assert b"/registry/src/" in bootstrap, "where a panic of a dependency comes from can be told"
    assert [home for home in homes if f"{home}/".encode() in bootstrap] == []


def test_the_bill_of_materials_names_what_is_in_the_function_and_nothing_else() -> None:
    made = package.bill_of_materials(NOON)
    assert json.dumps(made) == json.dumps(package.bill_of_materials(NOON))
    components = {component["name"]: component for component in made["components"]}
    assert {"aws-sdk-sts", "aws-lc-sys", "jsonwebtoken", "lambda_http", "rustls"} <= components.keys()
    assert {"hallpass", "proptest", "cc", "libfuzzer-sys", "clap", "ring"}.isdisjoint(components)
    for component in made["components"]:
        assert component["hashes"][0]["content"], component
        assert component["licenses"][0]["expression"], component
    consistent(made)


def test_the_bill_of_materials_of_the_command_line_names_its_own_components() -> None:
    made = package.bill_of_materials(NOON, package.CLI)
    assert made["metadata"]["component"]["name"] == "hallpass-cli"
    components = {component["name"] for component in made["components"]}
    assert {"hallpass", "aws-sdk-dynamodb", "clap", "clap_complete", "saphyr-parser", "rustix"} <= components
    assert {"hallpass-testing", "proptest", "lambda_http", "windows-native-keyring-store", "ring"}.isdisjoint(
        components
    )
    consistent(made)


def consistent(made: dict[str, Any]) -> None:
    references = [component["bom-ref"] for component in made["components"]]
    assert len(references) == len(set(references))
    assert {need for each in made["dependencies"] for need in each["dependsOn"]} == set(references)
