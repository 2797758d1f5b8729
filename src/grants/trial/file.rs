//! What does a test file say?

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::super::file::Finding;
use super::super::file::document::span;
use super::super::file::paths::{Collected, collect, is_test_file};
use super::super::{Asked, AskedError, GrantName};
use super::{Expectation, ISSUED, SupposedCaller, Test};
use crate::read::fields::{Fields, TEXT, string, text, texts};
use crate::read::json::escaped;
use crate::read::problems::{Problem, Problems, quoted};
use crate::read::rule::{Rule, Severity};
use crate::read::text::{Language, Mistake, Node, Source, Span, Text, read_file};
use crate::session::SessionDuration;
use crate::time::from_rfc3339;
use crate::wire::Code;

/// The tests under some paths, and all that is wrong with their files.
#[derive(Debug, Default)]
pub struct TestFiles {
    tests: Vec<Test>,
    findings: Vec<Finding>,
    is_unreadable: bool,
}

impl TestFiles {
    /// Reads every file `*.test.yaml` under the paths, sorted, without hidden files. A path may be a file, too.
    #[must_use]
    pub fn read(paths: &[PathBuf]) -> Self {
        let Collected { files, unreadable, .. } = collect(paths, is_test_file);
        let mut read = Self::default();
        for path in files {
            match read_file(&path) {
                Ok(bytes) => read.file(path, bytes),
                Err(error) => read.unreadable(path, &error.to_string()),
            }
        }
        for (path, says) in unreadable {
            read.unreadable(path, &says);
        }
        read
    }

    /// The tests, in the order of the files.
    #[must_use]
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// The policies that the tests name as their ceiling, by where they really are.
    #[must_use]
    pub fn ceilings(&self) -> BTreeSet<PathBuf> {
        let named = self.tests.iter().flat_map(|test| &test.ceiling);
        named.filter_map(|path| fs::canonicalize(path).ok()).collect()
    }

    /// What is wrong with the files. Their tests are then not all that they say.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether a path could not be read.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    pub(super) fn file(&mut self, path: PathBuf, bytes: Vec<u8>) {
        let path: Arc<Path> = path.into();
        let source = Arc::new(Source::new(bytes));
        let text = Text::read(&source, Language::Yaml);
        let finding = |Mistake { span, problem }| Finding::new(&path, &source, span, problem);
        self.findings.extend(text.mistakes.into_iter().map(finding));
        for node in text.documents.iter().filter(|node| !node.is_damaged) {
            let mut problems = Problems::default();
            let tests = document(node, &path, &source, &mut problems);
            let finding = |problem: &Problem| Finding::new(&path, &source, span(node, problem), problem.clone());
            let findings: Vec<Finding> = problems.iter().map(finding).collect();
            if findings.iter().all(|finding| finding.severity() != Severity::Error) {
                self.tests.extend(tests);
            }
            self.findings.extend(findings);
        }
    }

    fn unreadable(&mut self, path: PathBuf, says: &str) {
        let source = Arc::new(Source::new(Vec::new()));
        let problem = Problem::new(Rule::Unreadable, says);
        self.findings.push(Finding::new(&path.into(), &source, Span::default(), problem));
        self.is_unreadable = true;
    }
}

fn document(node: &Node, path: &Arc<Path>, source: &Source, problems: &mut Problems) -> Vec<Test> {
    let value = node.value();
    let Some(mut fields) = Fields::of(&value, "", "must be a map with `tests`", problems) else { return Vec::new() };
    let ceiling = fields.optional("ceiling", texts("must be a list of paths of policies")).unwrap_or_default();
    let base = path.parent().unwrap_or(Path::new(""));
    let ceiling: Vec<PathBuf> = ceiling.iter().map(|file| base.join(file)).collect();
    let tests = fields.raw("tests").and_then(Value::as_array).filter(|tests| !tests.is_empty());
    fields.require(tests.is_some(), "tests", || Problem::new(Rule::Missing, "must be a list of at least one test"));
    let tests = fields.nested("tests", |_, at, problems| {
        let test = |(index, value): (usize, &Value)| {
            let at = format!("{at}/{index}");
            let place = source.place(node.find(&at).node.span.start);
            let read = test(value, &at, problems)?;
            Some(Test { path: Arc::clone(path), place, ceiling: ceiling.clone(), ..read })
        };
        tests.into_iter().flatten().enumerate().filter_map(test).collect::<Vec<_>>()
    });
    fields.finish(|_| false, |_| unknown("`ceiling` and `tests`"));
    tests.unwrap_or_default()
}

fn test(value: &Value, at: &str, problems: &mut Problems) -> Option<Test> {
    let mut fields = Fields::of(value, at, "must be a map that describes a test", problems)?;
    let name = fields.required("name", TEXT, text);
    let has_caller = fields.raw("caller").is_some();
    fields.require(has_caller, "caller", || Problem::new(Rule::Missing, "must say who asks: `issuer` and `subject`"));
    let caller = fields.nested("caller", caller).flatten();
    let grant = fields.optional("grant", grant).unwrap_or_default();
    let duration = fields.optional("duration", duration);
    let from = fields.optional("from", address);
    let at_time = fields.optional("at", time);
    let expect = fields.optional("expect", code).unwrap_or_else(|| ISSUED.to_owned());
    let mut expectations = Vec::new();
    for (name, allows) in [("allows", true), ("denies", false)] {
        let read = |value: &Value, at: &str, problems: &mut Problems| {
            let Some(list) = value.as_array().filter(|list| !list.is_empty()) else {
                problems.add(at, Problem::wrong(Rule::Type, "must be a list of at least one expectation", value));
                return Vec::new();
            };
            let read = |(index, value)| expectation(value, allows, &format!("{at}/{index}"), problems);
            list.iter().enumerate().filter_map(read).collect()
        };
        expectations.extend(fields.nested(name, read).unwrap_or_default());
        let is_used = expect == ISSUED || fields.raw(name).is_none();
        fields.require(is_used, name, || {
            Problem::new(Rule::NoEffect, format_args!("has no effect, since no session is expected but {expect}"))
        });
    }
    let is_fine = fields.finish(
        |_| false,
        |_| unknown("`name`, `caller`, `grant`, `duration`, `from`, `at`, `expect`, `allows` and `denies`"),
    );
    let test = Test {
        path: Path::new("").into(),
        place: crate::read::text::Place::START,
        name: name?,
        ceiling: Vec::new(),
        caller: caller?,
        grant,
        duration,
        from,
        at: at_time,
        expect,
        expectations,
    };
    is_fine.then_some(test)
}

fn caller(value: &Value, at: &str, problems: &mut Problems) -> Option<SupposedCaller> {
    let mut fields = Fields::of(value, at, "must be a map with `issuer` and `subject`", problems)?;
    let issuer = fields.required("issuer", TEXT, text);
    let subject = fields.required("subject", TEXT, text);
    let groups = fields.optional("groups", groups);
    let claims = fields.optional("claims", |value| {
        let wrong = || Problem::wrong(Rule::Type, "must be a map of claims", value);
        value.as_object().cloned().ok_or_else(wrong)
    });
    fields.finish(|_| false, |_| unknown("`issuer`, `subject`, `groups` and `claims`"));
    Some(SupposedCaller { issuer: issuer?, subject: subject?, groups, claims: claims.unwrap_or_default() })
}

fn expectation(value: &Value, allows: bool, at: &str, problems: &mut Problems) -> Option<Expectation> {
    let mut fields = Fields::of(value, at, "must be a map with `action` and `resource`", problems)?;
    let action = fields.required("action", TEXT, text);
    let resource = fields.required("resource", TEXT, text);
    let context = fields.nested("context", context).unwrap_or_default();
    let absent = fields.optional("absent", texts("must be a list of condition keys")).unwrap_or_default();
    fields.finish(|_| false, |_| unknown("`action`, `resource`, `context` and `absent`"));
    let (action, resource) = (action?, resource?);
    match Asked::new(&action, &resource) {
        Ok(asked) => Some(Expectation { allows, action, resource, asked, context, absent }),
        Err(error) => {
            let (name, rule, found) = match error {
                AskedError::Action => ("action", Rule::Action, &action),
                AskedError::Resource => ("resource", Rule::Resource, &resource),
            };
            problems.add(&format!("{at}/{name}"), Problem::new(rule, format_args!("{error}: {}", quoted(found))));
            None
        }
    }
}

/// The values of condition keys: one or several for each.
fn context(value: &Value, at: &str, problems: &mut Problems) -> Vec<(String, Vec<String>)> {
    let Some(members) = value.as_object() else {
        problems.add(at, Problem::wrong(Rule::Type, "must be a map of condition keys", value));
        return Vec::new();
    };
    let mut context = Vec::new();
    for (key, value) in members {
        if let Some(values) = context_values(value) {
            context.push((key.clone(), values));
        } else {
            let must = "must be a string, a number, true or false, or a list of at least one";
            problems.add(&format!("{at}/{}", escaped(key)), Problem::wrong(Rule::ConditionValue, must, value));
        }
    }
    context
}

fn context_values(value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value.as_array().filter(|list| !list.is_empty()) {
        Some(list) => list.iter().map(one).collect(),
        None => one(value).map(|text| vec![text]),
    }
}

fn grant(value: &Value) -> Result<GrantName, Problem> {
    let must = "must be 1 to 64 of a-z, 0-9, `.`, `_` and `-`, a letter or digit first";
    GrantName::new(&string(value)?).ok_or_else(|| Problem::wrong(Rule::GrantName, must, value))
}

fn groups(value: &Value) -> Result<Vec<String>, Problem> {
    let list: Option<Vec<String>> =
        value.as_array().and_then(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    list.ok_or_else(|| Problem::wrong(Rule::Type, "must be a list of strings", value))
}

fn duration(value: &Value) -> Result<SessionDuration, Problem> {
    let read = value.as_i64().and_then(SessionDuration::from_secs);
    read.ok_or_else(|| Problem::wrong(Rule::Duration, "must be whole seconds, 900 to 129600", value))
}

fn address(value: &Value) -> Result<IpAddr, Problem> {
    let read = value.as_str().and_then(|text| text.parse().ok());
    read.ok_or_else(|| Problem::wrong(Rule::Value, "must be an address", value))
}

fn time(value: &Value) -> Result<SystemTime, Problem> {
    let seconds = value.as_i64().or_else(|| value.as_str().and_then(from_rfc3339));
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let time = seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    time.ok_or_else(|| Problem::wrong(Rule::Time, "must be a time of RFC 3339, or seconds since the epoch", value))
}

fn code(value: &Value) -> Result<String, Problem> {
    let known = |text: &&str| *text == ISSUED || Code::ALL.iter().any(|code| code.as_str() == *text);
    let must = "must be `issued` or a code of the API, such as `access_denied`";
    value.as_str().filter(known).map(str::to_owned).ok_or_else(|| Problem::wrong(Rule::Value, must, value))
}

fn unknown(known: &str) -> Problem {
    Problem::new(Rule::UnknownMember, "is not known here").help(format_args!("there are {known}"))
}
