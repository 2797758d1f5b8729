//! What should the authors of grant files know before anybody applies them?
//!
//! Besides what makes a grant unusable, which [`Files`] finds: what is unwise, what is too large together, and what does
//! not fit the issuers. Nothing here is a rule of the function's own.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Document, File, Files, Finding, carried, size};
use crate::grants::item::Item;
use crate::grants::policy::Template;
use crate::grants::{Holder, PrincipalKind};
use crate::identity::Issuer;
use crate::read::problems::{Problem, quoted};
use crate::read::rule::{Rule, Severity};
use crate::read::text::{Comment, Span};

/// Below this, in seconds, clients that renew credentials 15 minutes before their end renew them more often than they
/// use them. The AWS SDKs for Python and Java do so.
const SHORT: i32 = 1_800;

/// How a comment begins that silences a warning: `# hallpass: allow RULE: reason`.
const ALLOW: &str = "# hallpass: allow ";

impl Files {
    /// All findings: errors, and warnings that no comment silences, in the order of the files. What depends on the issuers
    /// is checked if they are known.
    #[must_use]
    pub fn lint(&self, issuers: Option<&[Issuer]>) -> Vec<Finding> {
        let mut findings = self.findings().to_vec();
        for document in self.documents().iter().chain(&self.damaged) {
            document.lint(issuers, &mut findings);
        }
        size::lint(self.documents(), &mut findings);
        silence(findings, self.files())
    }
}

impl Document {
    fn lint(&self, issuers: Option<&[Issuer]>, findings: &mut Vec<Finding>) {
        let mut note = |at: &str, problem: Problem| {
            findings.push(self.finding(Problem { at: at.to_owned(), ..problem }));
        };
        for warning in self.item().warnings(self.holder(issuers)).iter() {
            note(&warning.at, warning.clone());
        }
        if let Some(at) = self.short_session() {
            let says =
                "makes sessions so short that some clients, which renew 15 minutes early, renew them all the time";
            note(at, Problem::new(Rule::ShortSession, says).help("allow 1800 seconds or more"));
        }
        let names = self.principals().iter().enumerate();
        let texts = names.map(|(index, named)| (format!("/principals/{index}"), named.principal.as_str()));
        let description = self.item().description.as_deref().map(|text| ("/description".to_owned(), text));
        for (at, text) in texts.chain(description).filter(|(_, text)| holds_placeholder(text)) {
            let says = format_args!("looks like a placeholder that nothing replaces here: {}", quoted(text));
            note(&at, Problem::new(Rule::LeftPlaceholder, says).help("write what it stands for"));
        }
        let Some(issuers) = issuers else { return };
        let mut never = BTreeMap::new();
        for (index, named) in self.principals().iter().enumerate() {
            let id = named.principal.issuer();
            if let Some(issuer) = issuers.iter().find(|issuer| issuer.id().as_str() == id) {
                never.extend(never_carried(self.item(), issuer).map(|(claim, provider)| (claim, (id, provider))));
            } else {
                let known = issuers.iter().map(|issuer| quoted(issuer.id())).collect::<Vec<_>>().join(", ");
                let says = format_args!("is a principal of {}, which is not a configured issuer", quoted(id));
                let problem = Problem::new(Rule::UnknownIssuer, says).help(format_args!("there are {known}"));
                note(&format!("/principals/{index}"), problem);
            }
        }
        for ((at, claim), (id, provider)) in never {
            let says = format_args!("asks for `{claim}`, which tokens of the issuer `{id}` ({provider}) never carry");
            note(at, Problem::new(Rule::NeverCarried, says).help("nobody of this issuer can meet it; remove it"));
        }
    }

    /// A group of an issuer without `groups_required` can be left, as far as a token says.
    fn holder(&self, issuers: Option<&[Issuer]>) -> Holder {
        let is_optional = |issuer: &Issuer, id: &str| issuer.id().as_str() == id && !issuer.groups_required();
        let is_shed = self.principals().iter().map(|named| &named.principal).any(|principal| {
            matches!(principal.kind(), PrincipalKind::Group(_))
                && issuers.unwrap_or_default().iter().any(|issuer| is_optional(issuer, principal.issuer()))
        });
        if is_shed { Holder::OptionalGroup } else { Holder::Certain }
    }

    /// The attribute that makes sessions short.
    fn short_session(&self) -> Option<&'static str> {
        let Item { duration, max_duration, .. } = self.item();
        if max_duration.as_secs() < SHORT {
            Some("/max_duration")
        } else if duration.as_secs() < SHORT {
            Some("/duration")
        } else {
            None
        }
    }
}

/// What `require` asks for and no token of the issuer has: the place and the claim, and the provider's name.
fn never_carried(item: &Item, issuer: &Issuer) -> impl Iterator<Item = ((&'static str, &'static str), &'static str)> {
    let step_up = item.require.step_up();
    let asked = [
        ("/require/acr", "acr", !step_up.acr_values.is_empty()),
        ("/require/amr", "amr", !step_up.amr_values.is_empty()),
        ("/require/max_age", "auth_time", step_up.max_age.is_some()),
    ];
    let url = issuer.url().to_owned();
    asked.into_iter().filter_map(move |(at, claim, is_asked)| {
        let provider = carried::never_carries(&url, claim).filter(|_| is_asked)?;
        Some(((at, claim), provider))
    })
}

fn holds_placeholder(text: &str) -> bool {
    !Template::parse(text).is_ok_and(|template| template.is_plain())
}

/// A comment that silences a warning.
struct Allow {
    span: Span,
    /// `None` where it does not say which rule there is, and why.
    rule: Option<Rule>,
    is_used: bool,
}

/// The comments of a file that silence warnings, by their lines.
fn allows(file: &File) -> BTreeMap<usize, Allow> {
    let comments = file.comments.iter().filter(|comment| comment.is_alone);
    let read = |comment: &Comment| {
        let text = file.source.slice(comment.span).strip_prefix(ALLOW)?;
        let id = text.split_once(':').filter(|(_, reason)| !reason.trim().is_empty()).map(|(id, _)| id.trim());
        let rule = Rule::ALL.iter().find(|rule| Some(rule.id()) == id && rule.severity() == Severity::Warning);
        let allow = Allow { span: comment.span, rule: rule.copied(), is_used: false };
        Some((file.source.place(comment.span.start).line, allow))
    };
    comments.filter_map(read).collect()
}

/// Drops the warnings that comments allow, each one of them, and adds the comments that allow nothing.
fn silence(mut findings: Vec<Finding>, files: &[File]) -> Vec<Finding> {
    let mut allows: BTreeMap<&Path, BTreeMap<usize, Allow>> =
        files.iter().map(|file| (&*file.path, allows(file))).filter(|(_, allows)| !allows.is_empty()).collect();
    findings.retain(|finding| {
        let allows = allows.get_mut(&*finding.path).filter(|_| finding.severity() == Severity::Warning);
        !allows.is_some_and(|allows| use_one(allows, finding.place.line, finding.problem.rule))
    });
    for file in files {
        let unused = allows.get(&*file.path).into_iter().flat_map(BTreeMap::values).filter(|allow| !allow.is_used);
        findings.extend(unused.map(|allow| {
            let problem = match allow.rule {
                Some(rule) => {
                    let says = format_args!("allows `{rule}`, which the line below does not break");
                    Problem::new(Rule::UnusedAllow, says).help("remove the comment")
                }
                None => Problem::new(Rule::UnusedAllow, "does not name the rule of a warning, and a reason")
                    .help("write `# hallpass: allow RULE: reason`; errors cannot be allowed"),
            };
            Finding::new(&file.path, &file.source, allow.span, problem)
        }));
    }
    findings.sort_by(Finding::order);
    findings
}

/// Uses up a comment directly above `line`. Several comments may stand above one line.
fn use_one(allows: &mut BTreeMap<usize, Allow>, line: usize, rule: Rule) -> bool {
    let mut above = line;
    while let Some(allow) = above.checked_sub(1).and_then(|above| allows.get_mut(&above)) {
        if allow.rule == Some(rule) && !allow.is_used {
            allow.is_used = true;
            return true;
        }
        above = above.saturating_sub(1);
    }
    false
}
