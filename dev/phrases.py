"""`make typos`: is what users read in plain words? Searches the phrases of phrases.txt, and says what to write instead.

phrases.py          in everything that users read
phrases.py FILE…    in these files

Of Rust, only the text of messages is searched, and in `cli/`, where they are the help, the documentation comments.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_name("phrases.txt")
READ = [
    "*.md",
    "docs/*.md",
    "examples/*/*.md",
    "template.yaml",
    "grants/*",
    "Makefile",
    "src/**/*.rs",
    "cli/src/**/*.rs",
]
# Comments come first, or an apostrophe or a quotation mark in one would begin a literal.
RUST = re.compile(
    r"""(?P<help>///[^\n]*)|//[^\n]*|'(?:\\.|[^'\\])'|(?P<literal>r(?P<hashes>\#*)".*?"(?P=hashes)|"(?:\\.|[^"\\])*")""",
    re.DOTALL | re.VERBOSE,
)
TESTS = re.compile(r"^#\[cfg\(test\)\]\nmod \w+ \{", re.MULTILINE)


def main(arguments: list[str]) -> int:
    every = (file for glob in READ for file in sorted(ROOT.glob(glob)) if "tests" not in file.relative_to(ROOT).parts)
    files = [Path(name).resolve() for name in arguments] or every
    found = [line for file in files for line in findings(file)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


def findings(file: Path) -> Iterator[str]:
    read = text_of(file)
    # A phrase may be broken over lines.
    starts = [word.start() for word in re.finditer(r"\S+", read)]
    words = read.split()
    line_of = {}
    joined = ""
    for start, word in zip(starts, words, strict=True):
        line_of[len(joined)] = start
        joined += word + " "
    positions = sorted(line_of)
    for phrase, better in phrases():
        for match in phrase.finditer(joined):
            start = line_of[max(at for at in positions if at <= match.start())]
            name = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
            yield f"{name}:{read.count(chr(10), 0, start) + 1}: `{match[0]}`: {better}"


def phrases() -> list[tuple[re.Pattern[str], str]]:
    lines = [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.split(" → ") for line in lines]
    return [(re.compile(phrase, re.IGNORECASE), better) for phrase, better in pairs]


def text_of(file: Path) -> str:
    """What is read of a file, at its place; all else is blank."""
    text = file.read_text()
    if file.suffix == ".rs":
        is_help = ROOT / "cli" in file.parents
        pieces, end = [], 0
        for token in RUST.finditer(TESTS.split(text)[0]):
            keep = token["literal"] or (token["help"] if is_help else None) or ""
            pieces += [_blank(text[end : token.start()]), keep.replace("\\\n", " \n").ljust(len(token[0]))]
            end = token.end()
        return "".join(pieces).replace("///", "   ")
    return re.sub(r"^( *)(#+)", lambda mark: mark[0].replace("#", " "), text, flags=re.MULTILINE)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
