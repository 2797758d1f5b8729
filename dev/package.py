"""`make package`: what a release is made of, in build/package. With it `sam deploy` needs no Rust.

hallpass-BINARY-VERSION-ARCHITECTURE.zip    a function; the same bytes whenever the same bootstrap is packed
template-ARCHITECTURE.yaml                  template.yaml, with those zips as the functions' code
hallpass-VERSION.cdx.json                   what the functions are made of (CycloneDX)
hallpass-VERSION-linux-ARCHITECTURE.tar.gz  the command line, with completions and manual pages; the same bytes, too
hallpass-cli-VERSION.cdx.json               what the command line is made of
SHA256SUMS                                  of all of these

Which functions there are says template.yaml.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import uuid
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from paths import BUILD, ROOT

PACKAGE = BUILD / "package"
BUILT = {"arm64": BUILD / "lambda-arm64", "x86_64": BUILD / "lambda"}
BUILT_CLI = {"arm64": BUILD / "cli-arm64", "x86_64": BUILD / "cli"}
# An ELF header says for which machine it is, at offset 18.
MACHINES = {"arm64": 183, "x86_64": 62}
# What Linux calls them.
PROCESSORS = {"aarch64": "arm64", "x86_64": "x86_64"}
# What is linked into what is released.
FUNCTIONS = ("hallpass", ("aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"))
CLI = ("hallpass-cli", ("aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl"))
# Where each shell looks for its completions, but for the directory.
COMPLETIONS = {
    "bash": "hallpass.bash",
    "elvish": "hallpass.elv",
    "fish": "hallpass.fish",
    "powershell": "_hallpass.ps1",
    "zsh": "_hallpass",
}

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
            bootstrap = for_machine(built / binary / "bootstrap", architecture)
            archive = PACKAGE / name_of_zip(binary, version, architecture)
            pack(archive, bootstrap, when)
            print(f"{archive.name}: {archive.stat().st_size:,} bytes; bootstrap {len(bootstrap):,}")
        (PACKAGE / f"template-{architecture}.yaml").write_text(released(template, version, architecture))
    written = pages(BUILT_CLI[_here()] / "hallpass" / "bootstrap")
    for architecture, built in BUILT_CLI.items():
        path = built / "hallpass" / "bootstrap"
        binary = for_machine(path, architecture)
        if interpreter(binary):
            raise SystemExit(f"{path} is not static")
        archive = PACKAGE / f"hallpass-{version}-linux-{architecture}.tar.gz"
        pack_cli(archive, binary, written, when)
        print(f"{archive.name}: {archive.stat().st_size:,} bytes; hallpass {len(binary):,}")
    for made in (FUNCTIONS, CLI):
        components = bill_of_materials(when, made)
        sbom = PACKAGE / f"{made[0]}-{version}.cdx.json"
        sbom.write_text(json.dumps(components, indent=1) + "\n")
        print(f"{sbom.name}: {len(components['components'])} components")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(PACKAGE.iterdir())]
    (PACKAGE / "SHA256SUMS").write_text("".join(sums))
    return 0


def for_machine(path: Path, architecture: str) -> bytes:
    """A program, if it is for that architecture."""
    program = path.read_bytes()
    machine = int.from_bytes(program[18:20], "little")
    if machine != MACHINES[architecture]:
        raise SystemExit(f"{path} is for machine {machine}, not for {architecture}")
    return program


def interpreter(program: bytes) -> bool:
    """Whether a 64-bit ELF file needs a loader of the system to start, which finds its libraries: such a file is not
    static."""
    start = int.from_bytes(program[32:40], "little")
    size, count = (int.from_bytes(program[at : at + 2], "little") for at in (54, 56))
    types = (program[at : at + 4] for at in range(start, start + size * count, size))
    return any(int.from_bytes(kind, "little") == 3 for kind in types)  # PT_INTERP


def pages(command: Path) -> dict[str, bytes]:
    """The completions and the manual pages, which the command line writes itself, by their names in an archive."""
    made = {}
    for shell, name in COMPLETIONS.items():
        done = subprocess.run([command, "completions", shell], stdout=subprocess.PIPE, check=True)
        made[f"completions/{name}"] = done.stdout
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([command, "man", directory], check=True)
        made |= {f"man/man1/{page.name}": page.read_bytes() for page in Path(directory).iterdir()}
    return made


def pack_cli(archive: Path, binary: bytes, written: dict[str, bytes], when: int) -> None:
    """A tar.gz whose bytes depend on the arguments and on zlib alone."""
    files = {"hallpass": (0o755, binary)} | {name: (0o644, page) for name, page in sorted(written.items())}
    packed = io.BytesIO()
    # A name in the header would be that of the file here.
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=when) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as made,
    ):
        for name, (mode, content) in files.items():
            entry = tarfile.TarInfo(name)  # of root's, and a plain file
            entry.mode, entry.size, entry.mtime = mode, len(content), when
            made.addfile(entry, io.BytesIO(content))
    archive.write_bytes(packed.getvalue())


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


def bill_of_materials(when: int, released: tuple[str, tuple[str, ...]] = FUNCTIONS) -> dict[str, Any]:
    """What cargo links into the functions, or into the command line, on either architecture: its dependencies, and
    theirs, but for what only builds and tests need."""
    name_of_root, triples = released
    checksums = {
        (name, version): checksum for name, version, checksum in LOCKED.findall((ROOT / "Cargo.lock").read_text())
    }
    packages: dict[str, dict[str, Any]] = {}
    edges: dict[str, set[str]] = {}
    root = ""
    for triple in triples:
        metadata = json.loads(
            _output("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", triple)
        )
        by_id = {package["id"]: package for package in metadata["packages"]}
        nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
        [root] = (id for id in metadata["workspace_members"] if by_id[id]["name"] == name_of_root)
        linked = _linked(name_of_root, triple)
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


def _linked(package: str, triple: str) -> set[tuple[str, str]]:
    """Name and version of what a package of this workspace links. `cargo metadata` also knows what the others need of the
    dependencies that they share."""
    tree = _output(
        *("cargo", "tree", "--locked", "--package", package, "--edges", "normal", "--target", triple),
        *("--prefix", "none", "--format", "{p}"),
    )
    return {(name, version.removeprefix("v")) for name, version, *_ in map(str.split, tree.splitlines())}


def _here() -> str:
    """The architecture of which a program can be started here."""
    if platform.system() != "Linux" or platform.machine() not in PROCESSORS:
        raise SystemExit("a release is made on Linux, where the command line can write its pages")
    return PROCESSORS[platform.machine()]


def _version() -> str:
    return json.loads(_output("cargo", "metadata", "--locked", "--format-version", "1", "--no-deps"))["packages"][0][
        "version"
    ]


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
