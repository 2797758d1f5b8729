//! How are grant files brought into their one form?

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use hallpass::grants::file::format::{Unformatted, format};
use hallpass::grants::file::{Files, language};
use hallpass::read::text::{Language, MAX_BYTES, Source};

use super::lint::text;
use crate::failure::Failure;
use crate::output::{Outcome, note, print};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hallpass grants fmt\n  hallpass grants fmt --check grants/deploy.yaml\n  \
                        hallpass grants fmt - < grants/deploy.yaml\n\nExit codes: 0 done, 1 a file cannot be read or \
                        written, 2 wrong usage, 3 a file is not YAML or JSON, or with --check would change")]
pub(crate) struct Arguments {
    /// Only say which files would change
    #[arg(long)]
    check: bool,
    /// Files and directories with grants, or - for YAML from standard input to standard output
    #[arg(value_name = "PATH", default_value = "grants/")]
    paths: Vec<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let is_input = |path: &PathBuf| path.as_os_str() == "-";
        if self.paths.iter().any(is_input) {
            if self.paths.len() > 1 {
                return Err(Failure::Usage("`-` stands alone: no other path goes with it".into()));
            }
            return self.format_input();
        }
        let files = Files::read(&self.paths);
        for path in files.skipped() {
            note(&format!("skipped: {} is not a grant file", path.display()));
        }
        let mut outcome = Outcome::Done;
        let mut failed = files.is_unreadable();
        for finding in files.findings().iter().filter(|finding| finding.problem.rule.id() == "unreadable") {
            note(&text::line(finding));
        }
        for file in files.files() {
            match formatted(&file.path, &file.source) {
                Err(says) => {
                    note(&says);
                    outcome = Outcome::Problems;
                }
                Ok(text) if text == file.source.text() && !file.source.had_mark() => {}
                Ok(_) if self.check => {
                    print(&text::plain(&file.path.display().to_string()))?;
                    outcome = Outcome::Problems;
                }
                Ok(text) => {
                    if let Err(error) = replace(&file.path, &text) {
                        note(&format!("error: {}: cannot be written: {error}", file.path.display()));
                        failed = true;
                    } else {
                        print(&text::plain(&file.path.display().to_string()))?;
                    }
                }
            }
        }
        if files.files().is_empty() && !failed {
            return Err(Failure::new("there is no grant file in these paths"));
        }
        if failed { Err(Failure::new("not every file was formatted")) } else { Ok(outcome) }
    }

    fn format_input(&self) -> Result<Outcome, Failure> {
        let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(most).read_to_end(&mut bytes);
        read.map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
        let source = Source::new(bytes);
        let text = match formatted(Path::new("-"), &source) {
            Ok(text) => text,
            Err(says) => {
                note(&says);
                return Ok(Outcome::Problems);
            }
        };
        let is_formatted = text == source.text() && !source.had_mark();
        if self.check {
            return Ok(if is_formatted { Outcome::Done } else { Outcome::Problems });
        }
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|_| Failure::new("cannot write to standard output"))?;
        Ok(Outcome::Done)
    }
}

/// The one form of a file, or what is wrong with it.
fn formatted(path: &Path, source: &Source) -> Result<String, String> {
    format(source, language(path).unwrap_or(Language::Yaml)).map_err(|unformatted| match unformatted {
        Unformatted::Mistakes(mistakes) => {
            let lines = mistakes.iter().map(|mistake| text::mistake(path, source, mistake));
            lines.collect::<Vec<_>>().join("\n")
        }
        Unformatted::Changed => format!("error: {}: would not say the same, and is left as it is", path.display()),
    })
}

/// Writes a file at once: it has the old text or the new one, and never a part. A link stays a link, and the mode stays.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let permissions = fs::metadata(&path)?.permissions();
    // A person who may not write into the file may not replace it, either.
    fs::OpenOptions::new().write(true).open(&path)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::OpenOptions::new().write(true).create_new(true).open(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(permissions)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    });
    if written.is_err() {
        // What is left of it is in nobody's way, and the first error says more.
        let _ = fs::remove_file(&temporary);
    }
    written
}
