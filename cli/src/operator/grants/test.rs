//! Do the grants do what their tests expect?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use hallpass::grants::Policies;
use hallpass::grants::file::{Files, Finding};
use hallpass::grants::trial::{Test, TestFiles};
use hallpass::identity::Issuer;
use hallpass::read::rule::Severity;
use serde::Serialize;

use super::lint::text::{line, plain};
use super::{Paths, inputs};
use crate::failure::Failure;
use crate::output::{Outcome, Output, note};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hallpass grants test\n  hallpass grants test --json grants/ other/analysts.test.yaml\n\n\
                        Exit codes: 0 all tests passed, 1 there is none or a path cannot be read, 2 wrong usage, 3 a \
                        test failed or a file has errors"
)]
pub(crate) struct Arguments {
    /// The value of `HALLPASS_ISSUERS` in a file, which says where subject and groups are [default: /sub and /groups]
    #[arg(long, value_name = "FILE")]
    issuers: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    paths: Paths,
}

/// What became of all tests.
#[derive(Debug, Serialize)]
struct Results {
    tests: Vec<Tested>,
    passed: usize,
    failed: usize,
}

/// What became of one test.
#[derive(Debug, Serialize)]
struct Tested {
    file: String,
    line: usize,
    name: String,
    passed: bool,
    failures: Vec<String>,
}

impl Arguments {
    pub(super) fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        let configured = self.issuers.as_deref().map(inputs::issuers_of_file).transpose()?;
        let tests = TestFiles::read(&self.paths.paths);
        let grants = Files::read(&with_neighbours(&self.paths.paths));
        let errors: Vec<&Finding> = tests.findings().iter().chain(grants.findings()).collect();
        let errors: Vec<&Finding> =
            errors.into_iter().filter(|finding| finding.severity() == Severity::Error).collect();
        for finding in &errors {
            note(&line(finding));
        }
        if tests.is_unreadable() || grants.is_unreadable() {
            return Err(Failure::new("not every path can be read; nothing was tested"));
        }
        if !errors.is_empty() {
            let text = format!("there are {} errors in the files; nothing was tested", errors.len());
            return Err(Failure::Forbidden(text));
        }
        if tests.tests().is_empty() {
            return Err(Failure::new("there is no test in these paths; tests are in files `*.test.yaml`"));
        }
        let known = inputs::known(grants.documents());
        let mut results = Results { tests: Vec::new(), passed: 0, failed: 0 };
        for test in tests.tests() {
            let issuers = match &configured {
                Some(issuers) => issuers,
                None => &vec![inputs::plain_issuer(test.issuer())?],
            };
            let failures = run(test, known.clone(), issuers, now)?;
            let counted = if failures.is_empty() { &mut results.passed } else { &mut results.failed };
            *counted = counted.saturating_add(1);
            results.tests.push(Tested {
                file: test.path.display().to_string(),
                line: test.place.line,
                name: test.name.clone(),
                passed: failures.is_empty(),
                failures,
            });
        }
        self.output.print(&results, || results.text())?;
        Ok(if results.failed == 0 { Outcome::Done } else { Outcome::Problems })
    }
}

fn run(
    test: &Test,
    known: hallpass::grants::explain::Known,
    issuers: &[Issuer],
    now: SystemTime,
) -> Result<Vec<String>, Failure> {
    let ceiling: Option<Policies> = if test.ceiling.is_empty() { None } else { Some(inputs::ceiling(&test.ceiling)?) };
    Ok(test.run(known, issuers, ceiling.as_ref(), now).err().unwrap_or_default())
}

/// The paths, and for each test file among them the directory that it is in: its grants are there too.
fn with_neighbours(paths: &[PathBuf]) -> Vec<PathBuf> {
    let is_test = |path: &Path| path.as_os_str().as_encoded_bytes().ends_with(b".test.yaml");
    let neighbours = |path: &PathBuf| match path.parent() {
        Some(parent) if is_test(path) && parent == Path::new("") => PathBuf::from("."),
        Some(parent) if is_test(path) => parent.to_owned(),
        _ => path.clone(),
    };
    let all: BTreeSet<PathBuf> = paths.iter().map(neighbours).collect();
    all.into_iter().collect()
}

impl Results {
    fn text(&self) -> String {
        let test = |test: &Tested| {
            let verdict = if test.passed { "ok  " } else { "FAIL" };
            let headline = format!("{verdict} {}:{} {}", plain(&test.file), test.line, plain(&test.name));
            let failures = test.failures.iter().map(|failure| format!("     {}", plain(failure)));
            [headline].into_iter().chain(failures).collect::<Vec<_>>().join("\n")
        };
        let mut lines: Vec<String> = self.tests.iter().map(test).collect();
        lines.push(format!("{} passed, {} failed", self.passed, self.failed));
        lines.join("\n")
    }
}
