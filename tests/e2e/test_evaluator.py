"""Does the evaluator decide as MiniStack's does? Every difference is explained by AWS's documentation.

MiniStack's evaluator knows federated sessions, and AWS's policy simulator does not. Where MiniStack decides otherwise
than AWS documents, a row of `RULES` says what AWS documents and changes MiniStack accordingly. With all rows there is no
difference left on 10,000 random policies and requests; without any one of them there is.
"""

from __future__ import annotations

import datetime
import json
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from ministack.core import iam_evaluator as ministack
from paths import ROOT

CASES = 10_000
GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"

Case = dict[str, Any]
Patch = Callable[[pytest.MonkeyPatch], None]

##### Random policies, requests and contexts

STRINGS = ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase"]
NUMBERS = ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"]
# Keys with operators that fit them, operands, and values that match now and then.
KEYS: dict[str, tuple[list[str], list[Any], list[str]]] = {
    "aws:PrincipalTag/team": (
        [*STRINGS, "StringNotEqualsIgnoreCase", "Null"],
        ["red", "Red", "b*", "", "${s3:prefix}", "${aws:PrincipalTag/unit, 'red'}", "${*}", 7],
        ["red", "Red", "blue", "", "b*", "7", "*"],
    ),
    "s3:prefix": (STRINGS, ["home/*", "${aws:PrincipalTag/team}/*", "?ome/1", "*"], ["home/1", "red/1", "home/*"]),
    "aws:TagKeys": (STRINGS, ["red", "blue", "b*", "${aws:PrincipalTag/team}"], ["red", "blue", "green", ""]),
    "s3:max-keys": (["Numeric" + name for name in NUMBERS], [1, "10.0", "-3", 10], ["1", "10", "7.5", "-3", "many"]),
    "aws:TokenIssueTime": (
        ["Date" + name for name in NUMBERS],
        ["2026-11-22T12:00:00Z", "2026-11-22", "2026-11", "1795348800", "2026-11-22T13:00:00+01:00"],
        ["2026-11-22T12:00:00Z", "2026-11-23T00:00:00Z", "1795348801", "2026-11-01", "soon"],
    ),
    "aws:MultiFactorAuthPresent": (["Bool", "Null"], [True, False, "true", "FALSE"], ["true", "false"]),
    "aws:SourceIp": (
        ["IpAddress", "NotIpAddress"],
        ["203.0.113.0/24", "203.0.113.7", "2001:db8::/32", "0.0.0.0/0"],
        ["203.0.113.7", "203.0.114.1", "2001:db8::7"],
    ),
    "aws:SourceArn": (
        ["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"],
        ["arn:aws:sns:*:111122223333:red", "arn:aws:sns:eu:1:*", "arn:aws:*:1:*:red", "arn:aws:sns:*", "*"],
        ["arn:aws:sns:eu:111122223333:red", "arn:aws:sns:eu:1:red", "arn:aws:sns:eu:9:1:red", "red"],
    ),
    "k:data": (["BinaryEquals"], ["cmVk", "Ymx1ZQ=="], ["cmVk", "red"]),
}
OF_VARIABLES = {"aws:PrincipalTag/unit": ["red", "u1"]}
# Keys that MiniStack takes from the request itself, and so with one value.
SINGLE = {"aws:SourceIp"}
ACTIONS = ["s3:GetObject", "s3:Get*", "S3:*", "*", "s3:PutObject", "sqs:*", "s3:?etObject", "*:*"]
RESOURCES = [
    "*",
    "*",
    "arn:aws:s3:::home/*",
    "arn:aws:s3:::home/red/*",
    "arn:aws:s3:::home/${aws:PrincipalTag/team}/*",
    "arn:aws:s3:::home/${aws:PrincipalTag/unit, 'red'}/?",
    "arn:aws:s3:::Home/*",
    "arn:aws:sqs:*:*:queue",
]
ASKED = ["arn:aws:s3:::home/red/1", "arn:aws:s3:::home/blue/1", "arn:aws:s3:::home/u1/1", "arn:aws:sqs:eu:1:queue", "*"]


def one_or_more(dice: random.Random, values: list[Any]) -> Any:
    return dice.choice(values) if dice.random() < 0.6 else dice.choices(values, k=dice.randint(1, 2))


def any_statement(dice: random.Random) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": dice.choice(["Allow", "Allow", "Allow", "Deny"])}
    statement[dice.choice(["Action"] * 4 + ["NotAction"])] = one_or_more(dice, ACTIONS)
    statement[dice.choice(["Resource"] * 4 + ["NotResource"])] = one_or_more(dice, RESOURCES)
    if dice.random() < 0.5:
        condition = statement["Condition"] = {}
        for key in dice.sample(list(KEYS), k=dice.randint(1, 2)):
            operators, operands, _ = KEYS[key]
            operator = dice.choice(operators)
            if operator == "Null":
                operands = [True, False, "true"]
            else:
                operator = dice.choice([""] * 6 + ["ForAllValues:"] * 2 + ["ForAnyValue:"] * 2) + operator
                operator += dice.choice([""] * 4 + ["IfExists"])
            condition.setdefault(operator, {})[key] = one_or_more(dice, operands)
    return statement


def any_policies(dice: random.Random) -> list[dict[str, Any]]:
    def document() -> dict[str, Any]:
        return {"Version": "2012-10-17", "Statement": [any_statement(dice) for _ in range(dice.randint(1, 3))]}

    return [document() for _ in range(dice.randint(1, 2))]


def any_value(dice: random.Random, key: str, values: list[str]) -> str | list[str] | None:
    kind = dice.random()
    if kind < 0.2:
        return None
    return dice.choice(values) if kind < 0.8 or key in SINGLE else dice.choices(values, k=2)


def any_case(dice: random.Random) -> Case:
    values = {key: values for key, (_, _, values) in KEYS.items()} | OF_VARIABLES
    return {
        "session": any_policies(dice),
        "ceiling": any_policies(dice),
        "action": dice.choice(["s3:GetObject", "s3:PutObject", "sqs:SendMessage"]),
        "resource": dice.choice(ASKED),
        "context": {key: any_value(dice, key, of_key) for key, of_key in values.items()},
    }


@cache
def cases() -> list[Case]:
    dice = random.Random(13)
    return [any_case(dice) for _ in range(CASES)]


##### What both decide


@cache
def ours() -> list[str]:
    build = ["cargo", "build", "--quiet", "--locked", "--no-default-features", "--example", "evaluate"]
    done = subprocess.run([*build, "--message-format", "json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    built = [json.loads(line) for line in done.stdout.splitlines()]
    [program] = [one["executable"] for one in built if one.get("target", {}).get("name") == "evaluate"]
    lines = "".join(json.dumps(case) + "\n" for case in cases())
    answers = subprocess.run([program], input=lines, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [json.loads(answer)["result"] for answer in answers]


def theirs(case: Case) -> str:
    context = {key.lower(): value for key, value in case["context"].items()}
    request = ministack.EvalContext(
        principal_arn="arn:aws:sts::111122223333:federated-user/carol",
        principal_type="FederatedUser",
        principal_account="111122223333",
        action=case["action"],
        resource_arn=case["resource"],
        region="eu-west-1",
        source_ip=context["aws:sourceip"],
        service_context=context,
    )
    session, ceiling = ([ministack.parse_policy_document(one) for one in case[name]] for name in ("session", "ceiling"))
    decision = ministack.evaluate(request, ceiling, session).decision
    return {"Allow": "allow", "Deny": "deny", "ImplicitDeny": "implicit_deny"}[decision]


##### What AWS documents otherwise than MiniStack decides


@dataclass
class Rule:
    page: str
    documented: str
    patch: Patch


# Characters of a variable's value are no wildcards. These stand for the characters in a pattern.
LITERALS = {"*": "\ue000", "?": "\ue001", "$": "$"}
NOTHING = "\ue002"  # matches no text


def replaced(text: str, context: dict[str, Any]) -> str:
    """The text with IAM's variables replaced; what has no value matches nothing."""
    for name, key, default in re.findall(r"\$\{(([^},]*)(?:, *'([^']*)')?)\}", text):
        value = name if name in LITERALS else context.get(key.lower())
        if isinstance(value, list) or value == "":
            raise NotDocumented  # keys of several values do not work as variables; "no value" may be an empty string
        if value is None and not name.endswith("'"):
            return NOTHING
        value = default if value is None else value
        text = text.replace("${" + name + "}", "".join(LITERALS.get(c, c) for c in value))
    return text


class NotDocumented(Exception):
    """AWS does not say what comes of it."""


def with_variables(patch: pytest.MonkeyPatch) -> None:
    evaluate, compile_pattern = ministack.evaluate, ministack._fnmatch_compile

    def statement(one: Any, context: dict[str, Any]) -> Any:
        one = copy(one)
        one.resources = [replaced(resource, context) for resource in one.resources]
        one.not_resources = [replaced(resource, context) for resource in one.not_resources]

        def operand(value: Any) -> Any:
            if isinstance(value, list):
                return [operand(each) for each in value]
            return replaced(value, context) if isinstance(value, str) else value

        one.conditions = {
            operator: {key: operand(value) for key, value in block.items()}
            for operator, block in one.conditions.items()
        }
        return one

    def layer(policies: Any, context: dict[str, Any]) -> Any:
        return [[statement(one, context) for one in policy] for policy in policies]

    def evaluated(request: Any, policies: Any, *limits: Any) -> Any:
        context = request.service_context
        return evaluate(request, layer(policies, context), *(layer(limit, context) for limit in limits))

    def compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        regex = compile_pattern(pattern, ignore_case).pattern
        for character, literal in LITERALS.items():
            regex = regex.replace(literal, re.escape(character)) if character != "$" else regex
        return re.compile(regex, re.IGNORECASE if ignore_case else 0)

    def literally(compare: Callable[[str, str], bool]) -> Callable[[str, str], bool]:
        def compared(actual: str, expected: str) -> bool:
            for character, literal in LITERALS.items():
                expected = expected.replace(literal, character)
            return compare(actual, expected)

        return compared

    patch.setattr(ministack, "evaluate", evaluated)
    patch.setattr(ministack, "_fnmatch_compile", cache(compiled))
    for name in ("equals", "notequals", "equalsignorecase", "notequalsignorecase"):
        patch.setitem(ministack._CONDITION_OPS, f"string{name}", literally(ministack._CONDITION_OPS[f"string{name}"]))


def with_parts_of_arns(patch: pytest.MonkeyPatch) -> None:
    def like(actual: str, expected: str) -> bool:
        parts, patterns = actual.split(":", 5), expected.split(":", 5)
        if expected == "*":
            return len(parts) == 6
        same = len(parts) == len(patterns) == 6
        return same and all(ministack.fnmatch_iam_cs(*pair) for pair in zip(parts, patterns, strict=True))

    for name in ("arnequals", "arnlike"):
        patch.setitem(ministack._CONDITION_OPS, name, like)
    for name in ("arnnotequals", "arnnotlike"):
        patch.setitem(ministack._CONDITION_OPS, name, lambda actual, expected: not like(actual, expected))


def with_any_null(patch: pytest.MonkeyPatch) -> None:
    single = ministack._evaluate_single_condition

    def evaluated(operator: str, actual: Any, expected: list[Any]) -> bool:
        if operator.lower() == "null":
            return any(single(operator, actual, [one]) for one in expected)
        return single(operator, actual, expected)

    patch.setattr(ministack, "_evaluate_single_condition", evaluated)


def with_null_datasets(patch: pytest.MonkeyPatch) -> None:
    single = ministack._evaluate_single_condition

    def evaluated(operator: str, actual: Any, expected: list[Any]) -> bool:
        is_null = actual == "" or (isinstance(actual, list) and not any(actual))
        if is_null and operator.startswith("For"):
            return operator.startswith("ForAllValues:")
        return single(operator, actual, expected)

    patch.setattr(ministack, "_evaluate_single_condition", evaluated)


def with_months(patch: pytest.MonkeyPatch) -> None:
    parse = ministack._parse_date

    def parsed(text: str) -> datetime.datetime | None:
        return parse(f"{text}-01" if re.fullmatch(r"\d{4}-\d\d", text or "") else text)

    patch.setattr(ministack, "_parse_date", parsed)


def with_each_of_several_values(patch: pytest.MonkeyPatch) -> None:
    single = ministack._evaluate_single_condition

    def evaluated(operator: str, actual: Any, expected: list[Any]) -> bool:
        if isinstance(actual, list) and not operator.startswith("For") and operator.lower() != "null":
            truths = {single(operator, value, expected) for value in actual}
            return truths == {True}
        return single(operator, actual, expected)

    patch.setattr(ministack, "_evaluate_single_condition", evaluated)


RULES = {
    "variables": Rule(
        "reference_policies_variables.html",
        "When the policy is evaluated, the policy variables are replaced with values that come from the conditional "
        "context keys passed in the request. … When policy variables reference a condition context key that has no value "
        "or is not present in an authorization context for a request, the value is effectively null. There is no equal "
        "or like value.",
        with_variables,
    ),
    "parts of ARNs": Rule(
        "reference_policies_elements_condition_operators.html#Conditions_ARN",
        "Each of the six colon-delimited components of the ARN is checked separately and each can include "
        "multi-character match wildcards (*) or single-character match wildcards (?).",
        with_parts_of_arns,
    ),
    "several values of Null": Rule(
        "reference_policies_condition-logic-multiple-context-keys-or-values.html",
        "If a single condition operator includes multiple values for a context key, those values are evaluated using a "
        "logical OR.",
        with_any_null,
    ),
    "null datasets": Rule(
        "reference_policies_condition-single-vs-multi-valued-context-keys.html",
        "ForAllValues – … It also returns true if there are no context keys in the request or if the context key value "
        "resolves to a null dataset, such as an empty string. … ForAnyValue – … For no matching context key or a null "
        "dataset, the condition returns false.",
        with_null_datasets,
    ),
    "dates without a day": Rule(
        "reference_policies_elements_condition_operators.html#Conditions_Date",
        "You must specify date/time values with one of the W3C implementations of the ISO 8601 date formats or in epoch "
        "(UNIX) time.",
        with_months,
    ),
    "several values without a set operator": Rule(
        "reference_policies_condition-single-vs-multi-valued-context-keys.html",
        "Multivalued context keys require a condition set operator. (What comes without one is not documented: we answer "
        "only where it is the same for each value, and MiniStack compares the list as one text.)",
        with_each_of_several_values,
    ),
}


def differences(rules: list[str], patch: pytest.MonkeyPatch) -> Iterator[tuple[Case, str, str]]:
    """Where we are certain and MiniStack says otherwise."""
    for rule in rules:
        RULES[rule].patch(patch)
    for case, our in zip(cases(), ours(), strict=True):
        if our == "unknown":
            continue
        try:
            their = theirs(case)
        except NotDocumented:
            # A Deny elsewhere decides, or the statement does not apply; MiniStack does not say which.
            continue
        if our != their:
            yield case, our, their


def test_every_difference_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(differences(list(RULES), monkeypatch)) == []


@pytest.mark.parametrize("left_out", RULES)
def test_every_explanation_is_needed(left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert next(differences([rule for rule in RULES if rule != left_out], monkeypatch), None)


def test_all_decisions_are_reached_and_most_are_certain() -> None:
    counts = {decision: ours().count(decision) for decision in ("allow", "deny", "implicit_deny", "unknown")}
    assert min(counts["allow"], counts["deny"], counts["implicit_deny"]) > CASES / 20, counts
    assert counts["unknown"] < CASES / 5, counts
