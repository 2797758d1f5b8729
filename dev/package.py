"""`make package`: what a release is made of, in build/package. With it `sam deploy` needs no Rust.

hallpass-BINARY-VERSION-ARCHITECTURE.zip    a function; the same bytes whenever the same bootstrap is packed
template-ARCHITECTURE.yaml                  template.yaml, with those zips as the functions' code
hallpass-VERSION.cdx.json                   what the functions are made of (CycloneDX)
SHA256SUMS                                  of all of these

Which binaries there are says template.yaml: one for each of its functions.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import uuid
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from paths import BUILD, ROOT

PACKAGE = BUILD / "package"
BUILT = {"arm64": BUILD / "lambda-arm64", "x86_64": BUILD / "lambda"}
# An ELF header says for which machine it is, at offset 18.
MACHINES = {"arm64": 183, "x86_64": 62}
TRIPLES = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}

# A package of a registry, in Cargo.lock.
LOCKED = re.compile(r'^name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "([0-9a-f]{64})"$', re.MULTILINE)

DOS_EPOCH = 315_532_800  # 1980-01-01: a zip knows no earlier time
EXECUTABLE = 0o100_755
UNIX = 3

# How a function of template.yaml says what it is built of, and, further down in the same resource, where its code is.
FUNCTION = re.compile(
    r"      BuildMethod: rust-cargolambda\n      BuildProperties:\n        Binary: (?P<binary>\w+)\n"
    r"(?P<between>(?:    .*\n|\n)*?)"
    r"      CodeUri: \.\n"
)
# What a release says in another way of the processor. Each must be there exactly once.
ARCHITECTURE_CHANGES = {
    "    AllowedValues: [arm64, x86_64]\n": "    AllowedValues: [{architecture}]\n",
    "    Default: arm64\n": "    Default: {architecture}\n",
}


def main() -> int:
    version, when = _version(), source_date_epoch()
    PACKAGE.mkdir(parents=True, exist_ok=True)
    for old in PACKAGE.iterdir():
        old.unlink()
    template = (ROOT / "template.yaml").read_text()
    for architecture, built in BUILT.items():
        for binary in binaries(template):
            path = built / binary / "bootstrap"
            bootstrap = path.read_bytes()
            machine = int.from_bytes(bootstrap[18:20], "little")
            if machine != MACHINES[architecture]:
                print(f"{path} is for machine {machine}, not for {architecture}", file=sys.stderr)
                return 1
            archive = PACKAGE / name_of_zip(binary, version, architecture)
            pack(archive, bootstrap, when)
            print(f"{archive.name}: {archive.stat().st_size:,} bytes; bootstrap {len(bootstrap):,}")
        (PACKAGE / f"template-{architecture}.yaml").write_text(released(template, version, architecture))
    components = bill_of_materials(when)
    sbom = PACKAGE / f"hallpass-{version}.cdx.json"
    sbom.write_text(json.dumps(components, indent=1) + "\n")
    print(f"{sbom.name}: {len(components['components'])} components")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(PACKAGE.iterdir())]
    (PACKAGE / "SHA256SUMS").write_text("".join(sums))
    return 0


def pack(archive: Path, bootstrap: bytes, when: int) -> None:
    """A zip whose bytes depend on the arguments and on zlib alone."""
    moment = datetime.fromtimestamp(max(when, DOS_EPOCH), timezone.utc)
    entry = zipfile.ZipInfo("bootstrap", moment.timetuple()[:6])
    entry.create_system = UNIX  # whatever the system is: else the mode is lost
    entry.external_attr = EXECUTABLE << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(entry, bootstrap, compresslevel=9)


def binaries(template: str) -> list[str]:
    """Of the functions, in their order."""
    return [function["binary"] for function in FUNCTION.finditer(template)]


def name_of_zip(binary: str, version: str, architecture: str) -> str:
    return f"hallpass-{binary}-{version}-{architecture}.zip"


def released(template: str, version: str, architecture: str) -> str:
    """The template of a release for one architecture: the code is in files beside it, and nothing is built."""

    def packed(function: re.Match[str]) -> str:
        return f"{function['between']}      CodeUri: {name_of_zip(function['binary'], version, architecture)}\n"

    made, found = FUNCTION.subn(packed, template)
    functions = template.count("    Type: AWS::Serverless::Function\n")
    if found != functions:
        raise ValueError(f"template.yaml has {functions} functions, {found} with a Binary and `CodeUri: .`")
    made = re.sub(r"    Metadata:\n(?=    \w)", "", made)  # where nothing else is said
    for place, change in ARCHITECTURE_CHANGES.items():
        if made.count(place) != 1:
            raise ValueError(f"template.yaml has {place.strip()!r} {made.count(place)} times")
        made = made.replace(place, change.format(architecture=architecture))
    return made


def source_date_epoch() -> int:
    """The time that a release carries: SOURCE_DATE_EPOCH, else that of the commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        given = _output("git", "log", "-1", "--format=%ct") or "0"
    return int(given)


def bill_of_materials(when: int) -> dict[str, Any]:
    """What cargo links into the functions, on either architecture: its dependencies, and theirs, but for what only
    builds and tests need."""
    checksums = {
        (name, version): checksum for name, version, checksum in LOCKED.findall((ROOT / "Cargo.lock").read_text())
    }
    packages: dict[str, dict[str, Any]] = {}
    edges: dict[str, set[str]] = {}
    root = ""
    for triple in TRIPLES.values():
        metadata = json.loads(
            _output("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", triple)
        )
        by_id = {package["id"]: package for package in metadata["packages"]}
        nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
        root = metadata["resolve"]["root"]
        linked = _linked(triple)
        left = [root]
        while left:
            id = left.pop()
            needs = {
                dependency["pkg"]
                for dependency in nodes[id]["deps"]
                if any(kind["kind"] is None for kind in dependency["dep_kinds"])
                and (by_id[dependency["pkg"]]["name"], by_id[dependency["pkg"]]["version"]) in linked
            }
            left += needs - packages.keys() - set(left)
            packages[id] = by_id[id]
            edges.setdefault(id, set()).update(needs)

    def reference(id: str) -> str:
        return f"pkg:cargo/{packages[id]['name']}@{packages[id]['version']}"

    def component(id: str) -> dict[str, Any]:
        package = packages[id]
        made = {
            "type": "library",
            "bom-ref": reference(id),
            "name": package["name"],
            "version": package["version"],
            "purl": reference(id),
        }
        if package["license"]:
            # Before Rust's own rules, `/` stood for OR.
            made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        if checksum := checksums.get((package["name"], package["version"])):
            made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        return made

    ids = sorted((id for id in packages if id != root), key=reference)
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(root) | {"type": "application"},
        },
        "components": [component(id) for id in ids],
        "dependencies": [
            {"ref": reference(id), "dependsOn": sorted(reference(need) for need in edges[id])} for id in [root, *ids]
        ],
    }
    # A name of what is in it, so that the same release has the same.
    made["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(made, sort_keys=True)).urn
    return made


def _linked(triple: str) -> set[tuple[str, str]]:
    """Name and version of what the functions link. `cargo metadata` also knows what the command line needs of the
    dependencies that they share."""
    tree = _output(
        *("cargo", "tree", "--locked", "--package", "hallpass", "--edges", "normal", "--target", triple),
        *("--prefix", "none", "--format", "{p}"),
    )
    return {(name, version.removeprefix("v")) for name, version, *_ in map(str.split, tree.splitlines())}


def _version() -> str:
    return json.loads(_output("cargo", "metadata", "--locked", "--format-version", "1", "--no-deps"))["packages"][0][
        "version"
    ]


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
