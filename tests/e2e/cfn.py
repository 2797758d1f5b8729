"""What does template.yaml come to, for given parameters? Enough of CloudFormation to ask it: the intrinsic functions
that the template uses, and no more. What only AWS knows stays visible, as `<Api.Arn>` does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml
from paths import ROOT

# The least that a deployment says.
GIVEN = {
    "CeilingPolicyArns": "arn:aws:iam::aws:policy/ReadOnlyAccess",
    "IssuerUrl": "https://login.example.com",
    "Audiences": "hallpass",
}
PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "hallpass",
    "AWS::StackId": "<stack>",
}
_NOTHING = object()


class _Loader(yaml.SafeLoader):
    """Reads `!Sub x` as what it is short for, `{"Fn::Sub": "x"}`."""


def _tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tag)


@dataclass(frozen=True)
class Template:
    body: dict[str, Any]

    @classmethod
    def load(cls) -> Template:
        return cls(yaml.load((ROOT / "template.yaml").read_text(), _Loader))  # noqa: S506 (a SafeLoader)

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        return self.body["Parameters"]

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        return self.body["Resources"]

    def of_type(self, *types: str) -> dict[str, dict[str, Any]]:
        return {name: resource for name, resource in self.resources.items() if resource["Type"] in types}

    def properties(self, resource: str, **parameters: str) -> dict[str, Any]:
        """The properties of `resource`, as AWS gets them."""
        return self.resolve(self.resources[resource].get("Properties", {}), **parameters)

    def routes(self, **parameters: str) -> set[tuple[str, str]]:
        """Method and path of each route."""
        routes = self.of_type("AWS::ApiGatewayV2::Route").items()
        made = (name for name, route in routes if self.holds(route.get("Condition"), **parameters))
        keys = (self.properties(name)["RouteKey"].split(" ") for name in made)
        return {(method, path) for method, path in keys}

    def holds(self, condition: str | None, **parameters: str) -> bool:
        """Whether a resource with this condition is made."""
        return condition is None or self.resolve(self.body["Conditions"][condition], **parameters)

    def needs(self, resource: str) -> set[str]:
        """What CloudFormation makes before `resource`, and so deletes after it: what it mentions, and what that needs."""
        found: set[str] = set()
        left = self._mentioned(self.resources[resource])
        while left:
            name = left.pop()
            assert name != resource, f"{resource} needs itself"
            found.add(name)
            left |= self._mentioned(self.resources[name]) - found
        return found

    def broken_rules(self, **parameters: str) -> list[str]:
        """What somebody is told who deploys with nothing but `parameters`."""
        given = self._defaults() | parameters
        rules = [
            rule
            for rule in self.body["Rules"].values()
            if "RuleCondition" not in rule or self._value(rule["RuleCondition"], given)
        ]
        assertions = [assertion for rule in rules for assertion in rule["Assertions"]]
        return [told["AssertDescription"] for told in assertions if not self._value(told["Assert"], given)]

    def resolve(self, node: Any, **parameters: str) -> Any:
        """`node` for `parameters`, those of GIVEN, and the defaults."""
        return self._value(node, self._defaults() | GIVEN | parameters)

    def _mentioned(self, node: Any) -> set[str]:
        names: set[str] = set()
        if isinstance(node, list):
            for item in node:
                names |= self._mentioned(item)
        elif isinstance(node, dict):
            for name, argument in node.items():
                match name:
                    case "Ref":
                        names.add(argument)
                    case "DependsOn":
                        names |= {argument} if isinstance(argument, str) else set(argument)
                    case "Fn::GetAtt":
                        names.add(argument[0])
                    case "Fn::Sub":
                        text = argument if isinstance(argument, str) else argument[0]
                        names |= {each.split(".")[0] for each in re.findall(r"\$\{([^}]+)\}", text)}
                names |= self._mentioned(argument)
        return names & self.resources.keys()

    def _defaults(self) -> dict[str, Any]:
        return {name: parameter["Default"] for name, parameter in self.parameters.items() if "Default" in parameter}

    def _value(self, node: Any, given: dict[str, Any]) -> Any:
        if isinstance(node, list):
            return [value for value in (self._value(item, given) for item in node) if value is not _NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name == "Ref" or name.startswith("Fn::") or (name == "Condition" and isinstance(argument, str)):
                return self._intrinsic(name, argument, given)
        members = ((name, self._value(value, given)) for name, value in node.items())
        return {name: value for name, value in members if value is not _NOTHING}

    def _intrinsic(self, name: str, argument: Any, given: dict[str, Any]) -> Any:
        def value(node: Any) -> Any:
            return self._value(node, given)

        match name:
            case "Ref":
                return self._ref(argument, given)
            case "Condition":
                return value(self.body["Conditions"][argument])
            case "Fn::GetAtt":
                assert argument[0] in self.resources, argument
                return f"<{'.'.join(argument)}>"
            case "Fn::If":
                return value(argument[1 if value(self.body["Conditions"][argument[0]]) else 2])
            case "Fn::Equals":
                return value(argument[0]) == value(argument[1])
            case "Fn::Not":
                return not value(argument[0])
            case "Fn::And":
                return all(value(argument))
            case "Fn::Or":
                return any(value(argument))
            case "Fn::Join":
                return argument[0].join(value(argument[1]))
            case "Fn::Select":
                return value(argument[1])[int(argument[0])]
            case "Fn::Split":
                return value(argument[1]).split(argument[0])
            case "Fn::Sub":
                text, names = (argument, {}) if isinstance(argument, str) else (argument[0], value(argument[1]))
                return re.sub(r"\$\{([^}]+)\}", lambda match: str(self._ref(match[1], given | names)), text)
        raise AssertionError(f"{name} is not known here")

    def _ref(self, name: str, given: dict[str, Any]) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        known = PSEUDO | given
        if name in known:
            return known[name]
        assert name.split(".")[0] in self.resources, name
        return f"<{name}>"
