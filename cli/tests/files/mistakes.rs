//! Is each single mistake found at its very place, in every format?
//!
//! Each case starts from a valid file, and changes one part of it. `‸` stands before what is wrong.

use serde_json::Value;

use super::run::Directory;

const YAML: &str = r#"grant: deploy
description: Deploying
principals: [corp/group/deployers]
max_duration: 7200
require: {amr: [mfa], max_age: 900}
tags: {team: "${jwt:/department}"}
policy:
  Version: "2012-10-17"
  Statement:
    - Effect: Allow
      Action: ["s3:GetObject"]
      Resource: ["arn:aws:s3:::acme/*"]
      Condition:
        StringEquals: {"aws:PrincipalTag/team": shop}
"#;

const JSON: &str = r#"{
  "grant": "deploy",
  "principals": ["corp/everyone"],
  "max_duration": 7200,
  "policy": {"Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}
}
"#;

const DURATION: &str = "max_duration: 7200";
const AMR: &str = "amr: [mfa]";
const TEAM: &str = "\"${jwt:/department}\"";
const ACTION: &str = "Action: [\"s3:GetObject\"]";
const RESOURCE: &str = "[\"arn:aws:s3:::acme/*\"]";
const COMPARISON: &str = "StringEquals: {\"aws:PrincipalTag/team\": shop}";
const NAME: &str = "grant: deploy";
const PRINCIPALS: &str = "principals: [corp/group/deployers]";
const DESCRIPTION: &str = "description: Deploying";

/// The rule, what is changed in the valid file, and into what.
const OF_YAML: &[(&str, &str, &str)] = &[
    ("syntax", DURATION, "max_duration: ‸@7200"),
    ("syntax", DURATION, "max_duration: ‸'7200"),
    ("syntax", DURATION, "max_duration: ‸7200\n\tenabled: true"),
    ("syntax", DESCRIPTION, "description: De‸\u{7}ploying"),
    ("syntax", DESCRIPTION, "description: De‸\u{0}ploying"),
    ("duplicate", DURATION, "max_duration: 7200\n‸max_duration: 3600"),
    ("duplicate", ACTION, "Action: [\"s3:GetObject\"]\n      ‸\"Action\": [\"s3:PutObject\"]"),
    ("duplicate", AMR, "amr: [mfa], ‸amr: [pin]"),
    ("anchor", DURATION, "max_duration: ‸&a 7200"),
    ("anchor", ACTION, "Action: ‸&read [\"s3:GetObject\"]"),
    ("alias", DURATION, "max_duration: ‸*a"),
    ("alias", RESOURCE, "‸*"),
    ("merge-key", DURATION, "‸<<: {enabled: true}"),
    ("yaml-tag", DURATION, "max_duration: ‸!!int 7200"),
    ("yaml-tag", RESOURCE, "[‸!Sub \"arn:aws:s3:::acme/*\"]"),
    ("string-key", DURATION, "‸7200: max_duration"),
    ("string-key", TEAM, "x, ‸true: x"),
    ("string-key", DURATION, "? ‸[max_duration]\n: 7200"),
    ("number", DURATION, "max_duration: ‸.inf"),
    ("number", DURATION, "max_duration: ‸007200"),
    ("number", DURATION, "max_duration: ‸1e999"),
    ("missing", "grant: deploy\n", "‸"),
    (
        "missing",
        "grant: deploy\ndescription: Deploying\nprincipals: [corp/group/deployers]\n",
        "‸grant: deploy\ndescription: Deploying\n",
    ),
    ("grant-name", NAME, "grant: ‸Deploy"),
    ("grant-name", NAME, "grant: ‸\"#blocked\""),
    ("grant-name", NAME, "grant: ‸7"),
    ("grant-name", NAME, "grant: ‸-x"),
    ("grant-name", NAME, "grant: ‸\"\""),
    ("grant-name", NAME, "grant:‸"),
    ("principal", PRINCIPALS, "principals: ‸[]"),
    ("principal", PRINCIPALS, "principals: ‸corp/everyone"),
    ("principal", PRINCIPALS, "principals: [‸carol@example.com]"),
    ("principal", PRINCIPALS, "principals:\n  - corp/everyone\n  - ‸corp/users/carol"),
    ("principal", PRINCIPALS, "principals: [‸Corp/everyone]"),
    ("principal", PRINCIPALS, "principals: [‸corp/user/]"),
    ("principal", PRINCIPALS, "principals: [‸7]"),
    ("duplicate", PRINCIPALS, "principals: [corp/group/deployers, ‸corp/group/deployers]"),
    (
        "duplicate",
        COMPARISON,
        "StringEquals: {\"aws:PrincipalTag/team\": shop}\n---\ngrant: deploy\nprincipals:\n  - ‸corp/group/deployers",
    ),
    ("type", COMPARISON, "StringEquals: {\"aws:PrincipalTag/team\": shop}\n---\n‸- grant: deploy"),
    ("unknown-member", DURATION, "‸colour: red"),
    ("unknown-member", DURATION, "‸Max_duration: 7200"),
    ("unknown-member", DURATION, "‸revision: 1-aaaaaaaaaaaaaaaa"),
    ("unknown-member", AMR, "‸mfa: true"),
    ("duration", DURATION, "max_duration: ‸899"),
    ("duration", DURATION, "max_duration: ‸129601"),
    ("duration", DURATION, "max_duration: ‸\"7200\""),
    ("duration", DURATION, "max_duration: ‸7200.5"),
    ("time", DURATION, "not_after: ‸tomorrow"),
    ("time", DURATION, "not_before: ‸2027-01-15"),
    ("time", DURATION, "not_after: ‸2027-01-15T08:00:00.5Z"),
    ("time", DURATION, "not_after: ‸1.5"),
    ("type", DURATION, "enabled: ‸\"true\""),
    ("type", DURATION, "enabled: ‸no"),
    ("type", DURATION, "pin_source_ip: ‸1"),
    ("type", DESCRIPTION, "description: ‸[Deploying]"),
    ("requirement", AMR, "amr: ‸mfa"),
    ("requirement", AMR, "amr: ‸[]"),
    ("requirement", AMR, "acr: ‸[\"two words\"]"),
    ("requirement", "max_age: 900", "max_age: ‸-1"),
    ("json-pointer", AMR, "claims: {‸department: [shop]}"),
    ("type", AMR, "claims: {/department: ‸[]}"),
    ("type", TEAM, "‸7"),
    ("tag", "{team: \"${jwt:/department}\"}", "{\"aws:team\": ‸shop}"),
    ("template", TEAM, "‸\"${jwt:department}\""),
    ("template", TEAM, "‸\"${jwt:/department\""),
    ("placeholder", TEAM, "‸\"${var.team}\""),
    ("placeholder", TEAM, "‸\"{{ team }}\""),
    ("placeholder", RESOURCE, "[‸\"arn:aws:s3:::${AWS::AccountId}/*\"]"),
    ("placeholder", RESOURCE, "[\"arn:aws:s3:::a\", ‸\"arn:aws:s3:::$${jwt:/sub}/*\"]"),
    ("policy-version", "\"2012-10-17\"", "‸\"2012-10-18\""),
    ("policy-version", "\"2012-10-17\"", "‸2012"),
    ("policy-element", ACTION, "Action: [\"s3:GetObject\"]\n      ‸Principal: \"*\""),
    ("policy-element", ACTION, "Action: [\"s3:GetObject\"]\n      ‸Conditions: {}"),
    ("effect", "Effect: Allow", "Effect: ‸allow"),
    ("effect", "Effect: Allow", "Effect: ‸true"),
    ("statement", "Effect: Allow\n      Action: [\"s3:GetObject\"]", "‸Effect: Allow"),
    ("statement", "Effect: Allow", "‸Effect: Allow\n      NotAction: \"s3:PutObject\""),
    ("action", ACTION, "Action: [‸s3]"),
    ("action", ACTION, "Action: [\"s3:GetObject\", ‸\"s3:Put Object\"]"),
    ("action", ACTION, "Action: ‸\"s*:GetObject\""),
    ("type", ACTION, "Action: [‸7]"),
    ("resource", RESOURCE, "[‸acme]"),
    ("resource", RESOURCE, "[‸\"arn:aws:s3::acme\"]"),
    ("resource", RESOURCE, "[‸\"arn:aws:s3:eu-west-1::acme/*\"]"),
    ("resource", RESOURCE, "[‸\"arn:amazon:s3:::acme/*\"]"),
    ("resource", RESOURCE, "‸\"arn:aws:iam::111122223333:users/carol\""),
    ("condition-operator", COMPARISON, "‸StringEqual: {\"aws:PrincipalTag/team\": shop}"),
    ("condition-operator", COMPARISON, "‸NullIfExists: {\"aws:PrincipalTag/team\": true}"),
    ("condition-value", COMPARISON, "NumericEquals: {\"s3:max-keys\": ‸many}"),
    (
        "condition-value",
        COMPARISON,
        "IpAddress:\n          \"aws:SourceIp\":\n            - 203.0.113.0/24\n            - ‸203.0.113.300",
    ),
    ("condition-value", COMPARISON, "Bool: {\"aws:SecureTransport\": ‸maybe}"),
    ("condition-value", COMPARISON, "DateLessThan: {\"aws:CurrentTime\": ‸soon}"),
    ("policy-arn", DURATION, "policy_arns: [‸ReadOnlyAccess]"),
    ("type", DURATION, "policy_arns: ‸arn:aws:iam::aws:policy/ReadOnlyAccess"),
    ("iam-action", ACTION, "Action: ‸[\"iam:GetUser\"]"),
    ("allows-iam", ACTION, "Action: ‸[\"*\"]"),
    ("sts-action", ACTION, "Action: ‸[\"sts:AssumeRole\"]"),
    ("missing-key", COMPARISON, "StringNotEquals: {\"aws:PrincipalTag/team\": ‸shop}"),
    ("user-name", RESOURCE, "‸[\"arn:aws:s3:::acme/${aws:username}/*\"]"),
    ("open-end", RESOURCE, "‸[\"arn:aws:s3:::acme/${jwt:/sub}*\"]"),
    ("short-session", DURATION, "max_duration: ‸900"),
    ("short-session", DURATION, "max_duration: 7200\nduration: ‸1799"),
    ("left-placeholder", DESCRIPTION, "description: ‸\"Deploying ${var.shop}\""),
    ("left-placeholder", PRINCIPALS, "principals: [corp/group/a, ‸\"corp/group/{{ team }}\"]"),
    ("unused-allow", DURATION, "‸# hallpass: allow sts-action: nothing to allow\nmax_duration: 7200"),
    ("unused-allow", DURATION, "‸# hallpass: allow sts-action\nmax_duration: 7200"),
];

const OF_JSON: &[(&str, &str, &str)] = &[
    ("syntax", "7200,\n  \"policy\"", "7200\n  ‸\"policy\""),
    ("syntax", "\"max_duration\": 7200", "‸// seconds\n\"max_duration\": 7200"),
    ("syntax", "7200", "‸07200"),
    ("syntax", "7200", "‸True"),
    ("duplicate", "\"max_duration\": 7200", "\"max_duration\": 7200, ‸\"max_\\u0064uration\": 3600"),
    ("principal", "\"corp/everyone\"", "\"corp/everyone\", ‸\"Corp/everyone\""),
    ("duration", "7200", "‸7"),
    ("effect", "\"Allow\"", "‸\"allow\""),
    ("unknown-member", "\"max_duration\"", "‸\"größe\""),
];

#[test]
fn each_mistake_is_found_at_its_place_in_every_format() {
    assert!(OF_YAML.len() + OF_JSON.len() >= 80);
    let mut wrong = Vec::new();
    for (name, valid, cases) in [("grants/a.yaml", YAML, OF_YAML), ("grants/a.json", JSON, OF_JSON)] {
        assert_eq!(Directory::with(&[(name, valid)]).run(&["lint", "--deny-warnings"]).code, 0);
        for (rule, from, to) in cases {
            assert_eq!(valid.matches(from).count(), 1, "{from}");
            let marked = valid.replace(from, to);
            let (before, _) = marked.split_once('‸').unwrap();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            let expected = Expected { file: name, rule, line, column };
            let directory = Directory::with(&[(name, &marked.replace('‸', ""))]);
            wrong.extend(expected.check(&directory).err().map(|told| format!("{to:?} {expected:?}: {told}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[derive(Debug)]
struct Expected<'a> {
    file: &'a str,
    rule: &'a str,
    line: usize,
    column: usize,
}

impl Expected<'_> {
    fn check(&self, directory: &Directory) -> Result<(), String> {
        let Self { file, rule, line, column } = self;
        let run = directory.run(&["lint", "--format", "json"]);
        let report: Value = serde_json::from_str(&run.stdout).map_err(|error| error.to_string())?;
        let findings = report["findings"].as_array().unwrap();
        let [finding] = findings.as_slice() else { return Err(report.to_string()) };
        let severity = finding["severity"].as_str().unwrap();
        let is = |value: &Value, expected: usize| value.as_u64() == u64::try_from(expected).ok();
        let holds = [
            finding["file"] == *file,
            finding["rule"] == *rule,
            is(&finding["line"], *line),
            is(&finding["column"], *column),
            run.code == if severity == "error" { 3 } else { 0 },
            directory.run(&["lint", "--deny-warnings"]).code == 3,
        ];
        if holds.contains(&false) {
            return Err(format!("{holds:?} {finding}"));
        }
        let begins = [
            ("text", format!("{file}:{line}:{column}: {severity}[{rule}]: ")),
            ("github", format!("::{severity} file={file},line={line},col={column},title={rule}::")),
        ];
        for (format, begin) in begins {
            let run = directory.run(&["lint", "--format", format]);
            if !run.stdout.starts_with(&begin) {
                return Err(run.stdout);
            }
        }
        let run = directory.run(&["lint", "--format", "junit"]);
        let case = format!(
            "<testcase name=\"{rule} at {line}:{column}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\""
        );
        if run.stdout.matches(&case).count() != 1 || !run.stdout.contains("failures=\"1\"") {
            return Err(run.stdout);
        }
        let run = directory.run(&["lint", "--format", "sarif"]);
        let log: Value = serde_json::from_str(&run.stdout).map_err(|error| error.to_string())?;
        let result = &log["runs"][0]["results"][0];
        let location = &result["locations"][0]["physicalLocation"];
        let holds = [
            result["ruleId"] == *rule,
            result["level"] == severity,
            location["artifactLocation"]["uri"] == *file,
            is(&location["region"]["startLine"], *line),
            is(&location["region"]["startColumn"], *column),
        ];
        if holds.contains(&false) { Err(format!("{holds:?} {result}")) } else { Ok(()) }
    }
}
