//! Which versions does a managed policy have, and which is the default one?
//!
//! IAM: the one policy of the stack that is written, the boundary of the broker user, with IAM's own limits.

use std::collections::{BTreeMap, VecDeque};

use super::iam::BROKER_USER;
use super::query;
use crate::clock;
use crate::server::Reply;

/// The boundary's ARN.
pub const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/hallpass/hallpass-prod/hallpass-prod-BoundaryPolicy-1";

/// IAM's quota of versions.
const MAX_VERSIONS: usize = 5;
/// IAM's quota of characters, without white space.
const MAX_CHARS: usize = 6_144;
/// As the template has it.
const ALLOWS_EVERYTHING: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// A managed policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Documents by the numbers of their versions.
    pub versions: BTreeMap<u32, String>,
    pub default: u32,
    made: u32,
    /// What somebody else makes the default version, just before each of the next versions is made.
    pub rivals: VecDeque<String>,
    /// The boundary that the broker user has.
    pub of_user: Option<String>,
    /// How many lists after the next changes are from before them.
    pub lag: usize,
    past: Option<(BTreeMap<u32, String>, u32)>,
    /// What time it is at IAM, as the header `Date` says it.
    pub date: Option<&'static str>,
}

impl Default for Policy {
    fn default() -> Self {
        let versions = BTreeMap::from([(1, ALLOWS_EVERYTHING.to_owned())]);
        Self {
            versions,
            default: 1,
            made: 1,
            rivals: VecDeque::new(),
            of_user: Some(BOUNDARY.to_owned()),
            lag: 0,
            past: None,
            date: None,
        }
    }
}

impl Policy {
    /// Makes a version the default one.
    pub fn make(&mut self, document: &str) {
        self.made += 1;
        self.default = self.made;
        self.versions.insert(self.made, document.to_owned());
    }

    /// Lists the versions so many times as they are now, whatever becomes of them.
    pub fn list_late(&mut self, times: usize) {
        self.past = Some((self.versions.clone(), self.default));
        self.lag = times;
    }

    /// The document in force.
    pub fn document(&self) -> &str {
        &self.versions[&self.default]
    }

    pub(super) fn answer(&mut self, operation: &str, fields: &BTreeMap<String, String>) -> Reply {
        let reply = self.reply(operation, fields);
        match self.date {
            Some(date) => reply.header("date", date),
            None => reply,
        }
    }

    fn reply(&mut self, operation: &str, fields: &BTreeMap<String, String>) -> Reply {
        if operation == "GetUser" {
            return self.user(fields);
        }
        if fields.get("PolicyArn").map(String::as_str) != Some(BOUNDARY) {
            return query::error(404, "NoSuchEntity");
        }
        let named = fields.get("VersionId").and_then(|version| version.strip_prefix('v')?.parse::<u32>().ok());
        match operation {
            "ListPolicyVersions" => {
                let late = self.past.clone().filter(|_| self.lag > 0);
                self.lag = self.lag.saturating_sub(usize::from(late.is_some()));
                let (versions, default) = late.unwrap_or_else(|| (self.versions.clone(), self.default));
                let member = |number: &u32| format!("<member>{}</member>", version(*number, *number == default));
                let members: String = versions.keys().rev().map(member).collect();
                query::answer(operation, &format!("<Versions>{members}</Versions><IsTruncated>false</IsTruncated>"))
            }
            "GetPolicyVersion" => match named.and_then(|number| self.versions.get_key_value(&number)) {
                None => query::error(404, "NoSuchEntity"),
                Some((number, document)) => {
                    let document: String = url::form_urlencoded::byte_serialize(document.as_bytes()).collect();
                    let document = format!("<Document>{}</Document>", document.replace('+', "%20"));
                    let version = format!(
                        "<PolicyVersion>{document}{}</PolicyVersion>",
                        version(*number, *number == self.default)
                    );
                    query::answer(operation, &version)
                }
            },
            "CreatePolicyVersion" => {
                if let Some(document) = self.rivals.pop_front() {
                    self.make(&document);
                }
                self.create(fields)
            }
            "DeletePolicyVersion" if named == Some(self.default) => query::error(409, "DeleteConflict"),
            "DeletePolicyVersion" => match named.filter(|number| self.versions.contains_key(number)) {
                Some(number) => {
                    self.keep_past();
                    self.versions.remove(&number);
                    query::answer(operation, "")
                }
                None => query::error(404, "NoSuchEntity"),
            },
            _ => query::error(400, "InvalidAction"),
        }
    }

    fn keep_past(&mut self) {
        self.past = Some((self.versions.clone(), self.default)).filter(|_| self.lag > 0);
    }

    fn create(&mut self, fields: &BTreeMap<String, String>) -> Reply {
        let document = fields.get("PolicyDocument").cloned().unwrap_or_default();
        let length = document.chars().filter(|c| !c.is_whitespace()).count();
        if self.versions.len() >= MAX_VERSIONS || length > MAX_CHARS {
            return query::error(409, "LimitExceeded");
        }
        if serde_json::from_str::<serde_json::Value>(&document).is_err() {
            return query::error(400, "MalformedPolicyDocument");
        }
        let before = self.default;
        self.keep_past();
        self.make(&document);
        if fields.get("SetAsDefault").map(String::as_str) != Some("true") {
            self.default = before;
        }
        let made = version(self.made, self.made == self.default);
        query::answer("CreatePolicyVersion", &format!("<PolicyVersion>{made}</PolicyVersion>"))
    }

    fn user(&self, fields: &BTreeMap<String, String>) -> Reply {
        if fields.get("UserName").map(String::as_str) != Some(BROKER_USER) {
            return query::error(404, "NoSuchEntity");
        }
        let boundary = self.of_user.as_ref().map(|arn| {
            format!(
                "<PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType>\
                 <PermissionsBoundaryArn>{arn}</PermissionsBoundaryArn></PermissionsBoundary>"
            )
        });
        let user = format!(
            "<User><Path>/hallpass/hallpass-prod/</Path><UserName>{BROKER_USER}</UserName><UserId>AIDAEXAMPLE</UserId>\
             <Arn>arn:aws:iam::111122223333:user/hallpass/hallpass-prod/{BROKER_USER}</Arn>\
             <CreateDate>2026-01-01T00:00:00Z</CreateDate>{}</User>",
            boundary.unwrap_or_default()
        );
        query::answer("GetUser", &user)
    }
}

fn version(number: u32, is_default: bool) -> String {
    let at = clock::rfc3339(clock::now());
    format!(
        "<VersionId>v{number}</VersionId><IsDefaultVersion>{is_default}</IsDefaultVersion><CreateDate>{at}</CreateDate>"
    )
}
