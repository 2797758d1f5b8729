//! What does the record learn on the way of a request?

use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use super::{MatchedItem, Record, capped};
use crate::credentials::Issued;
use crate::grants::{GrantName, Matched, Pending};
use crate::identity::{Identified, UnverifiedToken};
use crate::time::rfc3339;

impl Record {
    pub fn wants_credentials(&mut self) {
        self.measured.wants_credentials = true;
    }

    /// The caller sent a token.
    pub fn presented(&mut self, token: &str) {
        self.token_sha256 = Some(HEXLOWER.encode(&Sha256::digest(token)));
    }

    /// The token names somebody, which nothing confirms yet.
    pub fn claimed(&mut self, token: &UnverifiedToken) {
        let (issuer, subject) = token.unverified_names();
        (self.unverified_issuer, self.unverified_subject) = (issuer.map(capped), subject.map(capped));
    }

    pub fn verified(&mut self, identified: &Identified) {
        let caller = &identified.caller;
        (self.unverified_issuer, self.unverified_subject) = (None, None);
        self.issuer = Some(caller.issuer().to_string());
        self.subject = Some(caller.subject().to_owned());
        self.jti = caller.token_id().map(capped);
        self.measured.jwks_age = Some(identified.key_age);
    }

    /// The parameters were read.
    pub fn asked_for(&mut self, grant: &GrantName) {
        self.grant = Some(grant.as_str().to_owned());
    }

    /// The page of AWS's console that the session is for. People paste what they have into a query, so it is left out.
    pub fn to_open(&mut self, page: &Url) {
        let mut page = page.clone();
        page.set_query(None);
        page.set_fragment(None);
        self.destination = Some(capped(page.as_str()));
    }

    /// The grants allow a session.
    pub fn decided(&mut self, pending: &Pending) {
        let item = |matched: &Matched| MatchedItem {
            principal: matched.principal.to_string(),
            revision: matched.revision.as_deref().map(capped),
        };
        let session = pending.describe();
        self.matched = session.matched().iter().map(item).collect();
        self.policy_sha256 = session.policy().map(|policy| HEXLOWER.encode(&Sha256::digest(policy.as_str())));
        self.policy_arns = session.policy_arns().iter().map(|arn| arn.as_str().to_owned()).collect();
        self.duration = Some(session.duration().as_secs());
        self.federated_name = Some(session.name().as_str().to_owned());
    }

    /// There is a broker key, which has been held for so long.
    pub fn key_found(&mut self, age: Duration) {
        self.measured.key_age = Some(age);
    }

    /// STS gave credentials.
    pub fn issued(&mut self, issued: &Issued) {
        self.access_key_id = Some(issued.access_key_id.clone());
        self.sts_request_id.clone_from(&issued.request_id);
        self.expiration = rfc3339(issued.expires_at);
        self.measured.packed_policy_size = issued.packed_policy_size;
    }

    /// Runs a stage of the request and measures how long it takes.
    pub async fn timed<T>(&mut self, stage: &'static str, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.took(stage, begun);
        done
    }

    /// A stage that began then has ended.
    pub fn took(&mut self, stage: &'static str, begun: Instant) {
        self.measured.stages.push((stage, begun.elapsed()));
    }
}
