//! How does a plan look to people, in a pull request and to programs?

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hallpass::grants::ChangeEffect;
use serde::Serialize;

use super::difference::{Line, lines};
use super::plan::{Action, Change, Excess, Left, Plan};
use super::table::{Block, Key, shown};

/// GitHub takes comments of 65,536 characters. What is cut off is said.
const MARKDOWN_LIMIT: usize = 60_000;

/// A plan for programs.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    create: Vec<ToldChange<'a>>,
    update: Vec<ToldChange<'a>>,
    delete: Vec<ToldChange<'a>>,
    unmanaged: Vec<&'a Key>,
    drift: Vec<&'a Key>,
    blocked: Vec<ToldBlock<'a>>,
    plan_id: &'a str,
}

#[derive(Debug, Serialize)]
struct ToldChange<'a> {
    #[serde(flatten)]
    key: &'a Key,
    effect: &'static str,
}

/// Who wrote a block, and when, changes nothing of a plan.
#[derive(Debug, Serialize)]
struct ToldBlock<'a> {
    principal: &'a str,
    reason: Option<&'a str>,
}

impl<'a> ToldBlock<'a> {
    fn of(block: &'a Block) -> Self {
        Self { principal: &block.principal, reason: block.reason.as_deref() }
    }
}

/// Changes that look alike, such as one document for several principals.
struct Alike<'a> {
    changes: Vec<&'a Change<'a>>,
    lines: Vec<Line>,
}

impl<'a> Plan<'a> {
    pub(super) fn told(&self) -> Told<'_> {
        let of = |action| {
            let changes = self.changes.iter().filter(|change| change.action == action);
            changes.map(|change| ToldChange { key: change.key, effect: change.effect.as_str() }).collect()
        };
        let keys = |left: &[Left<'a>]| left.iter().map(|left| left.key).collect();
        Told {
            create: of(Action::Create),
            update: of(Action::Update),
            delete: of(Action::Delete),
            unmanaged: keys(&self.unmanaged),
            drift: keys(&self.drift),
            blocked: self.blocked.iter().map(ToldBlock::of).collect(),
            plan_id: &self.id,
        }
    }

    /// For people, without a line break at the end.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Alike { changes, lines } in self.alike() {
            for change in &changes {
                line(&mut text, format_args!("{} {}  {}", sign(change.action), change.key, change.effect.as_str()));
            }
            let width = lines.iter().map(|line| line.attribute.chars().count()).max().unwrap_or_default();
            for Line { sign, attribute, value } in lines {
                line(&mut text, format_args!("    {sign} {attribute:width$}  {value}"));
            }
        }
        for (title, notes) in self.notes() {
            line(&mut text, format_args!("\n{title}"));
            for note in &notes {
                line(&mut text, format_args!("  {note}"));
            }
        }
        if let Some(excess) = self.excess() {
            line(&mut text, format_args!("\n{}", excess.text()));
        }
        if self.changes.is_empty() {
            line(&mut text, format_args!("No changes."));
        }
        let _ = write!(text, "{}", self.summary());
        text
    }

    /// For a comment on a pull request.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::from("### Plan of Hallpass's grants\n");
        let (mut left_out, mut may_widen) = (0_usize, 0_usize);
        if self.changes.is_empty() {
            line(&mut text, format_args!("\nNo changes."));
        }
        for Alike { changes, lines } in self.alike() {
            let mut part = String::from("\n");
            for change in &changes {
                let (key, effect) = (change.key, change.effect.as_str());
                let (principal, grant) = (code(&key.principal), code(&key.grant));
                line(&mut part, format_args!("- {} {principal} {grant} **{effect}**", change.action.as_str()));
            }
            let mut body = String::new();
            for Line { sign, attribute, value } in &lines {
                line(&mut body, format_args!("{sign} {attribute}: {value}"));
            }
            if !body.is_empty() {
                let fence = "`".repeat(longest_run(&body).saturating_add(1).max(3));
                line(&mut part, format_args!("\n{fence}diff\n{body}{fence}"));
            }
            if text.len().saturating_add(part.len()) > MARKDOWN_LIMIT {
                left_out = left_out.saturating_add(changes.len());
                let widening = changes.iter().filter(|change| change.effect.may_widen()).count();
                may_widen = may_widen.saturating_add(widening);
            } else {
                text.push_str(&part);
            }
        }
        if left_out > 0 {
            let says = format!("{left_out} more changes do not fit here, of which {may_widen} may widen");
            line(&mut text, format_args!("\n**{says}**; run `hallpass grants plan`."));
        }
        for (title, notes) in self.notes() {
            let notes: Vec<String> = notes.iter().map(|note| format!("- {}", code(note))).collect();
            let notes = notes.join("\n");
            if text.len().saturating_add(notes.len()) > MARKDOWN_LIMIT.saturating_add(3_000) {
                line(&mut text, format_args!("\n{title} The list does not fit here."));
            } else {
                line(&mut text, format_args!("\n{title}\n\n{notes}"));
            }
        }
        if let Some(excess) = self.excess() {
            line(&mut text, format_args!("\n**{}**", excess.text()));
        }
        let _ = write!(text, "\n{}", self.summary());
        text
    }

    /// The last line, which scripts may read.
    pub(super) fn summary(&self) -> String {
        format!(
            "Plan: {} to create, {} to update, {} to delete; {} unmanaged. Plan id {}",
            self.count(Action::Create),
            self.count(Action::Update),
            self.count(Action::Delete),
            self.unmanaged.len(),
            self.id
        )
    }

    /// The changes, those together that look alike.
    fn alike(&self) -> Vec<Alike<'_>> {
        type Likeness<'a> = (Action, &'a str, ChangeEffect, Vec<Line>);
        let mut places: BTreeMap<Likeness<'_>, usize> = BTreeMap::new();
        let mut all: Vec<Alike<'_>> = Vec::new();
        for change in &self.changes {
            let lines =
                lines(change.before.map(|before| &before.attributes), change.after.map(|after| &after.attributes));
            let likeness = (change.action, change.key.grant.as_str(), change.effect, lines.clone());
            let place = *places.entry(likeness).or_insert(all.len());
            match all.get_mut(place) {
                Some(alike) => alike.changes.push(change),
                None => all.push(Alike { changes: vec![change], lines }),
            }
        }
        all
    }

    /// What is left alone, and what helps.
    fn notes(&self) -> Vec<(String, Vec<String>)> {
        let keys = |left: &[&Left<'_>]| left.iter().map(|left| left.note()).collect::<Vec<_>>();
        let (wanted, others): (Vec<_>, Vec<_>) = self.unmanaged.iter().partition(|left| left.wanted.is_some());
        let drift: Vec<_> = self.drift.iter().collect();
        let blocked: Vec<_> = self.blocked.iter().map(Block::note).collect();
        let notes = [
            ("Unmanaged, and in the files; `apply --take-over` makes them this set's:".to_owned(), keys(&wanted)),
            ("Unmanaged, and in no file; nothing changes them:".to_owned(), keys(&others)),
            (
                format!(
                    "Drifted since the set `{}` applied them; `apply --overwrite-drift` does what the files say:",
                    self.set
                ),
                keys(&drift),
            ),
            ("Blocked, despite all grants:".to_owned(), blocked),
        ];
        notes.into_iter().filter(|(_, notes)| !notes.is_empty()).collect()
    }
}

impl Left<'_> {
    fn note(&self) -> String {
        let state = match (self.wanted, self.stored) {
            (Some(_), None) => "  deleted from the table",
            (Some(_), Some(_)) if !self.differs() => "  says the same",
            (Some(_), Some(_)) | (None, _) => "",
        };
        let owner = self.owner.map_or_else(String::new, |owner| format!("  of the set `{}`", shown(owner)));
        format!("{}{state}{owner}", self.key)
    }
}

impl Block {
    fn note(&self) -> String {
        let reason = self.reason.as_deref().map_or_else(String::new, |reason| format!("  {}", shown(reason)));
        format!("{}{reason}", shown(&self.principal))
    }
}

impl Excess {
    pub(super) fn text(&self) -> String {
        let Self { changed, managed, all_deleted } = self;
        let what = if *all_deleted { "deletes everything" } else { "changes much" };
        format!(
            "This {what}: {changed} of {managed} managed items are deleted or updated. If that is intended, `apply` \
             needs `--allow-changes {changed}`."
        )
    }
}

const fn sign(action: Action) -> char {
    match action {
        Action::Create => '+',
        Action::Update => '~',
        Action::Delete => '-',
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = writeln!(text, "{line}");
}

/// A code span of Markdown, in which nothing has a meaning.
fn code(text: &str) -> String {
    let text = shown(text);
    let fence = "`".repeat(longest_run(&text).saturating_add(1));
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}
