//! How do findings become annotations of GitHub Actions?
//!
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message>

use hallpass::grants::file::Finding;

use super::{Report, text};
use crate::failure::Failure;
use crate::output;

/// Prints a workflow command for each finding.
pub(super) fn print(report: &Report) -> Result<(), Failure> {
    let commands: Vec<String> = report.findings.iter().map(command).collect();
    if commands.is_empty() { Ok(()) } else { output::print(&commands.join("\n")) }
}

fn command(finding: &Finding) -> String {
    let Finding { path, place, problem, .. } = finding;
    let help = problem.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    let message = format!("{}{help}", text::sentence(problem));
    format!(
        "::{} file={},line={},col={},title={}::{}",
        problem.severity().as_str(),
        property(&path.display().to_string()),
        place.line,
        place.column,
        property(problem.rule.id()),
        data(&message),
    )
}

/// What would end the command is escaped as the runner reads it. Other control characters mean nothing to the runner, and
/// something to a terminal.
fn data(text: &str) -> String {
    text::plain(&text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A"))
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
