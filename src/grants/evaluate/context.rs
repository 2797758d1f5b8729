//! What is known of a request besides its action and resource?
//!
//! IAM's context keys. Each has values, or is known to be absent, or nothing is known of it.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use crate::session::SessionTags;
use crate::time::{rfc3339, seconds};

/// The context of a request, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// By the key's name in lower case, since case means nothing to IAM. No values: the key is absent.
    keys: BTreeMap<String, Vec<String>>,
}

/// What is known of every request of a session from the session alone.
#[derive(Debug, Clone)]
pub struct Circumstances<'a> {
    /// Where the request comes from, if that is known.
    pub source_ip: Option<IpAddr>,
    /// The time of the request.
    pub now: SystemTime,
    /// The partition of AWS, such as `aws`.
    pub partition: &'a str,
    /// The 12 digits of the account, if it is known.
    pub account: Option<&'a str>,
    /// The federated name.
    pub name: &'a str,
    /// The session tags. The broker user's own tags are inherited, so other tags are not known to be absent.
    pub tags: &'a SessionTags,
}

/// What is known of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence<'c> {
    Unknown,
    Absent,
    /// At least one.
    Values(&'c [String]),
}

impl Context {
    /// What holds for a federated session in these circumstances. All other keys are unknown.
    #[must_use]
    pub fn of(circumstances: &Circumstances<'_>) -> Self {
        let mut context = Self::default();
        let Circumstances { source_ip, now, partition, account, name, tags } = circumstances;
        context.set("aws:PrincipalType", ["FederatedUser"]);
        context.set("aws:SecureTransport", ["true"]);
        context.set("aws:ViaAWSService", ["false"]);
        context.set("aws:EpochTime", [seconds(*now).to_string()]);
        if let Some(time) = rfc3339(seconds(*now)) {
            context.set("aws:CurrentTime", [time]);
        }
        if let Some(address) = source_ip {
            context.set("aws:SourceIp", [address.to_canonical().to_string()]);
        }
        if let Some(account) = account {
            context.set("aws:PrincipalAccount", [*account]);
            context.set("aws:userid", [format!("{account}:{name}")]);
            context.set("aws:PrincipalArn", [format!("arn:{partition}:sts::{account}:federated-user/{name}")]);
        }
        for (key, value) in tags.iter() {
            context.set(&format!("aws:PrincipalTag/{key}"), [value]);
        }
        context
    }

    /// Gives a key its values, in place of what was known of it. Without a value it is absent.
    pub fn set<V: Into<String>>(&mut self, key: &str, values: impl IntoIterator<Item = V>) {
        self.keys.insert(key.to_lowercase(), values.into_iter().map(Into::into).collect());
    }

    /// Says that no request has the key.
    pub fn set_absent(&mut self, key: &str) {
        self.keys.insert(key.to_lowercase(), Vec::new());
    }

    pub(super) fn presence(&self, key: &str) -> Presence<'_> {
        match self.keys.get(&key.to_lowercase()).map(Vec::as_slice) {
            None => Presence::Unknown,
            Some([]) => Presence::Absent,
            Some(values) => Presence::Values(values),
        }
    }
}
