//! How does code scanning read findings?
//!
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use std::path::{Component, Path};

use hallpass::grants::file::Finding;
use hallpass::read::rule::Rule;
use serde_json::{Value, json};

use super::{Report, text};
use crate::failure::Failure;
use crate::output::print_json;

/// Prints the report as a log of one run.
pub(super) fn print(report: &Report) -> Result<(), Failure> {
    let results: Vec<Value> = report.findings.iter().map(result).collect();
    let artifacts: Vec<Value> =
        report.files.iter().map(|path| json!({"location": {"uri": uri(Path::new(path))}})).collect();
    print_json(&json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "hallpass grants lint",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": Rule::ALL.iter().map(|rule| describe(*rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "artifacts": artifacts,
            "results": results,
        }],
    }))
}

fn describe(rule: Rule) -> Value {
    json!({
        "id": rule.id(),
        "shortDescription": {"text": rule.about()},
        "defaultConfiguration": {"level": rule.severity().as_str()},
    })
}

fn result(finding: &Finding) -> Value {
    let Finding { path, place, source, span, problem } = finding;
    let end = source.place(span.end.max(span.start));
    // An end that is the start would be an empty region.
    let region = if (end.line, end.column) == (place.line, place.column) {
        json!({"startLine": place.line, "startColumn": place.column})
    } else {
        json!({"startLine": place.line, "startColumn": place.column, "endLine": end.line, "endColumn": end.column})
    };
    let help = problem.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    let mut location = json!({"physicalLocation": {"artifactLocation": {"uri": uri(path)}, "region": region}});
    if !problem.at.is_empty()
        && let Some(location) = location.as_object_mut()
    {
        location.insert("logicalLocations".into(), json!([{"fullyQualifiedName": problem.at}]));
    }
    json!({
        "ruleId": problem.rule.id(),
        "ruleIndex": Rule::ALL.iter().position(|rule| *rule == problem.rule),
        "level": problem.severity().as_str(),
        "message": {"text": format!("{}{help}", text::sentence(problem))},
        "locations": [location],
    })
}

/// A path as a URI: relative to the directory of the run, with everything escaped that has a meaning there.
fn uri(path: &Path) -> String {
    let text = |component: Component<'_>| match component {
        Component::RootDir => Some(String::new()),
        Component::CurDir => None,
        Component::ParentDir => Some("..".into()),
        Component::Normal(name) => Some(escaped(&name.to_string_lossy())),
        Component::Prefix(prefix) => Some(escaped(&prefix.as_os_str().to_string_lossy())),
    };
    let parts: Vec<String> = path.components().filter_map(text).collect();
    let scheme = if path.is_absolute() { "file://" } else { "" };
    format!("{scheme}{}", parts.join("/"))
}

fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(format!("%{byte:02X}").chars());
        }
    }
    out
}
