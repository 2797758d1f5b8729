"""Do the pages lead where they say, and do they list every refusal and every limit?"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest
from cfn import Template
from paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")

# What begins an `impl` block, and a constant of the module or, indented, of the block.
DECLARED = re.compile(
    r"^impl (?P<type>\w+) \{$"
    r"|^(?P<indent>    )?(?:pub(?:\([^)]+\))? )?const (?P<name>\w+): (?P<of>[^=\n]+?) =\s*(?P<is>[^;]+(?:; \d+\])?[^;]*?);$",
    re.MULTILINE,
)
# The types of numbers. A text is one if it has digits alone.
NUMBER = re.compile(r"Duration|\[Duration; \d+\]|[iu](8|16|32|64|size)|f64|(\w+::)*Range\w*<\w+>|Self|&str")
UNITS: dict[str, Fraction | int] = {
    "ms": Fraction(1, 1_000),
    "s": 1,
    "min": 60,
    "h": 3_600,
    "day": 86_400,
    "days": 86_400,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
}
CONSTRUCTORS = {"from_millis": Fraction(1, 1_000), "from_secs": 1, "from_mins": 60, "from_hours": 3_600}
# Numbers that are no limits.
NO_LIMITS = {
    ("src/grants/evaluate/pattern.rs", "PARTS_OF_ARN"): "a format",
}


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_named_where_readers_begin() -> None:
    readme = set(LINK.findall((ROOT / "README.md").read_text()))
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        assert name == "README.md" or name in readme, name


def test_every_rule_of_the_linter_is_listed_as_it_is() -> None:
    source = (ROOT / "src/read/rule.rs").read_text()
    rules = re.findall(r'^    \w+ = "([^"]+)", (Error|Warning), "([^"]+)";$', source, re.MULTILINE)
    assert len(rules) == source.count(", Error, ") + source.count(", Warning, ")
    page = (ROOT / "docs/lint-rules.md").read_text()
    for severity in ("Error", "Warning"):
        table = page.partition(f"\n## {severity}s\n")[2].partition("\n## ")[0]
        listed = re.findall(r"^\| `([^`]+)` \| (.+) \|$", table, re.MULTILINE)
        assert listed == [(rule, demands) for rule, kind, demands in rules if kind == severity]


def numbers(expression: str, known: dict[str, str]) -> list[Fraction]:
    """What Rust makes of the expression. Durations are in seconds."""
    text = re.sub(r"Duration::(from_\w+)\(", lambda made: f"Fraction('{CONSTRUCTORS[made[1]]}') * (", expression)
    text = re.sub(r"^(\w+)\.\.=(\w+)$", r"[\1, \2]", text)
    for rust, python in {"Duration::ZERO": "0", "Self(": "(", ".saturating_add(": " + (", " / ": " // "}.items():
        text = text.replace(rust, python)
    text = re.sub(r"(?:\w+::)*\b[A-Z][A-Z_]+\b", lambda name: f"({known[name[0]]})", text)
    value = eval(text.strip('"'), {"Fraction": Fraction})  # noqa: S307 (our own sources)
    return [Fraction(each) for each in (value if isinstance(value, list) else [value])]


def limits() -> dict[tuple[str, str], tuple[list[Fraction], bool]]:
    """Every number among the constants of the sources, by file and name, and whether it is a time."""
    found = {}
    known: dict[str, str] = {}
    for path in sorted(path for top in ("src", "cli/src") for path in (ROOT / top).rglob("*.rs")):
        if "tests" in path.parts:
            continue
        owner = ""
        for declared in DECLARED.finditer(path.read_text().partition("#[cfg(test)]\nmod tests {")[0]):
            if declared["type"]:
                owner = f"{declared['type']}::"
                continue
            of, expression = declared["of"], declared["is"]
            name = (owner if declared["indent"] else "") + declared["name"]
            # A record of several numbers is not a limit.
            if expression.startswith("Self {"):
                continue
            if NUMBER.fullmatch(of) and (of != "&str" or re.fullmatch(r'"\d+"', expression)):
                values = numbers(expression, known)
                known[name] = known[f"{path.stem}::{name}"] = f"Fraction('{values[0]}')"
                found[str(path.relative_to(ROOT)), name] = (values, "Duration" in of)
    return found


def test_the_table_of_limits_has_every_one_with_its_number() -> None:
    page = (ROOT / "docs/architecture.md").read_text().partition("## Every cache, limit and time-out")[2]
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| .+ \| `(.+?)` \|$", page, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `", page, re.MULTILINE)), "a row has another shape"
    told = {(file, name) for name, _, file in rows}
    assert len(told) == len(rows), "a row is there twice"

    template = Template.load()
    actual = {place: limit for place, limit in limits().items() if place not in NO_LIMITS}
    timeouts = {
        ("template.yaml", f"{name}.{member}")
        for name, resource in template.resources.items()
        for member in {"Timeout", "ServiceTimeout"} & resource.get("Properties", {}).keys()
    }
    assert (actual.keys() | timeouts) - told == set(), "rows are missing"

    for name, shown, file in rows:
        quantities = re.findall(r"([\d,]*\d)(?: (?!to )(\w+))?", shown)
        values = [int(digits.replace(",", "")) * Fraction(UNITS.get(unit, 1)) for digits, unit in quantities]
        if file == "template.yaml":
            part, member = name.split(".")
            is_parameter = part in template.parameters
            value = (template.parameters[part] if is_parameter else template.properties(part))[member]
            # Parameters have days, alarms have seconds.
            expected = [Fraction(value) * (UNITS["days"] if is_parameter and shown.endswith(" days") else 1)]
        else:
            assert (file, name) in actual, f"{file} has no {name}"
            expected, is_time = actual[file, name]
            assert not is_time or all(unit in UNITS for _, unit in quantities), f"{file} {name}: a time needs a unit"
        assert values == expected, f"{file} {name} is {[float(each) for each in expected]}, and the table has {shown}"


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/architecture.md"])
def test_every_path_that_is_named_exists(page: str) -> None:
    tops = "|".join(sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"))
    named = set(re.findall(rf"`((?:{tops})/[^`\s]*|[\w-]+\.(?:md|toml|yaml))`", (ROOT / page).read_text()))
    assert named, "no path is found"
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
