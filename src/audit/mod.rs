//! What will the people who look after the account be able to see?
//!
//! JSON lines on standard output, which Lambda hands to CloudWatch: `issuing` just before STS is asked, so that no
//! credentials exist without a line; `console` just before credentials are traded for a sign-in to AWS's console; and
//! `outcome` for every request, joined by the request id. Beside them metrics
//! in the embedded metric format. No field can hold a token, a key or a secret: there is none of those types.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

mod metrics;
mod namespace;
mod record;

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

use self::metrics::{Embedded, Figure, Group, Metric, metrics};
pub use self::namespace::{InvalidNamespace, Namespace};
pub use self::record::{MatchedItem, Measured, Outcome, Record, capped};
use crate::time::rfc3339_millis;

/// Writes the lines.
pub struct Audit {
    namespace: Namespace,
    out: Mutex<Box<dyn Write + Send>>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}

impl Audit {
    /// Writes to `out`.
    #[must_use]
    pub fn new(namespace: Namespace, out: impl Write + Send + 'static) -> Self {
        Self { namespace, out: Mutex::new(Box::new(out)) }
    }

    /// Records that STS is about to be asked.
    ///
    /// # Errors
    /// The line could not be written: then STS must not be asked.
    pub fn issuing(&self, record: &Record, now: SystemTime) -> io::Result<()> {
        self.before("issuing", record, now)
    }

    /// Records that credentials are about to be traded for a sign-in to AWS's console.
    ///
    /// # Errors
    /// The line could not be written: then they must not be traded.
    pub fn console(&self, record: &Record, now: SystemTime) -> io::Result<()> {
        self.before("console", record, now)
    }

    fn before(&self, event: &'static str, record: &Record, now: SystemTime) -> io::Result<()> {
        let mut lines = Lines::new();
        lines.add(&Line { event, time: rfc3339_millis(now), record, outcome: None })?;
        self.write(&lines)
    }

    /// Records how a request ended, with its metrics.
    pub fn outcome(&self, record: &Record, outcome: &Outcome, now: SystemTime) {
        let line = Line { event: "outcome", time: rfc3339_millis(now), record, outcome: Some(outcome) };
        let metrics = metrics(&self.namespace, record, outcome, now);
        let mut lines = Lines::new();
        let added = lines.add(&line).and_then(|()| metrics.iter().try_for_each(|metric| lines.add(metric)));
        if let Err(error) = added.and_then(|()| self.write(&lines)) {
            tracing::error!(%error, "the audit line of a request cannot be written");
        }
    }

    /// Records one figure that belongs to no request.
    pub fn measure(&self, name: &str, unit: &str, value: u64, now: SystemTime) {
        let metrics = vec![Metric { name, unit, value: Figure::Whole(value) }];
        let groups = vec![Group { dimension: None, metrics }];
        let mut lines = Lines::new();
        let added = lines.add(&Embedded { namespace: &self.namespace, groups, now });
        if let Err(error) = added.and_then(|()| self.write(&lines)) {
            tracing::error!(%error, name, "a metric cannot be written");
        }
    }

    fn write(&self, Lines(text): &Lines) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(text)?;
        out.flush()
    }
}

/// Lines that are written at once.
struct Lines(Vec<u8>);

impl Lines {
    fn new() -> Self {
        // What a request for credentials says of itself, with room to spare.
        Self(Vec::with_capacity(4 * 1024))
    }

    fn add(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.push(b'\n');
        Ok(())
    }
}

/// One line of the audit log.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    time: Option<String>,
    #[serde(flatten)]
    record: &'a Record,
    #[serde(flatten)]
    outcome: Option<&'a Outcome>,
}
