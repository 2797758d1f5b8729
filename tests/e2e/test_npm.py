"""Do the lock files of npm fit their packages, and can everybody install from them?"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from paths import ROOT

PACKAGES = [ROOT / "dev", ROOT / "examples" / "browser"]
SECTIONS = ("dependencies", "devDependencies")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_the_lock_file_has_what_the_package_asks_for(package: Path, tmp_path: Path) -> None:
    asked = json.loads((package / "package.json").read_text())
    locked = json.loads((package / "package-lock.json").read_text())["packages"]
    for section in SECTIONS:
        assert locked[""].get(section) == asked.get(section)
        for name, version in asked.get(section, {}).items():
            assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} is not pinned"
            assert locked[f"node_modules/{name}"]["version"] == version
    # npm refuses a lock file that does not fit, before it asks a registry.
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_text((package / name).read_text())
    command = ["npm", "ci", "--dry-run", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_no_lock_file_names_a_registry(package: Path) -> None:
    text = (package / "package-lock.json").read_text()
    assert "resolved" not in text
    packages = json.loads(text)["packages"]
    assert [name for name, each in packages.items() if name and "integrity" not in each] == []
