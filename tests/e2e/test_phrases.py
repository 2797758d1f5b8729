"""Does the spelling check find the phrases of dev/phrases.txt in what users read, and nowhere else?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

PLANTED = {
    "page.md": "# Page\n\nThe identity provider's keys cannot be\nhad; try again.\n",
    "grant.yaml": "# A comment: the secret is no access\n# key.\ngrant: default\n",
    "message.rs": 'fn main() {\n    let quoted = \'"\';\n    say("the log says what has to be \\\n         mended");\n}\n',
}


def check(*files: Path) -> tuple[int, str]:
    command = [sys.executable, str(ROOT / "dev/phrases.py"), *map(str, files)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("name", "line", "phrase", "better"),
    [
        ("page.md", 3, "cannot be had", "reached"),
        ("grant.yaml", 1, "is no", "is not a"),
        ("message.rs", 4, "mended", "fix"),
    ],
)
def test_a_planted_phrase_is_found_at_its_place(tmp_path: Path, name: str, line: int, phrase: str, better: str) -> None:
    file = tmp_path / name
    file.write_text(PLANTED[name])
    code, printed = check(file)
    assert code == 1
    (found,) = [text for text in printed.splitlines() if f"`{phrase}`" in text]
    assert found.startswith(f"{file}:{line}: ")
    assert better in found


def test_a_comment_and_a_test_of_rust_are_not_what_users_read(tmp_path: Path) -> None:
    file = tmp_path / "comment.rs"
    file.write_text(
        '/// It\'s "mended".\nfn main() {}\n\n#[cfg(test)]\nmod tests {\n    const X: &str = "mended";\n}\n'
    )
    assert check(file) == (0, "")
