//! What will the people who look after the account be able to see?
//!
//! JSON lines on standard output, which Lambda hands to CloudWatch: `issuing` just before STS is asked, so that no
//! credentials exist without a line, and `outcome` for every request, joined by the request id. Beside them metrics
//! in the embedded metric format. No field can hold a token, a key or a secret: there is none of those types.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

#[cfg(feature = "aws")]
mod events;
mod metrics;
mod namespace;
mod record;

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use self::metrics::{embedded, metrics};
pub use self::namespace::Namespace;
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
        self.write(&[line("issuing", record, &json!({}), now)])
    }

    /// Records how a request ended, with its metrics.
    pub fn outcome(&self, record: &Record, outcome: &Outcome, now: SystemTime) {
        let mut lines = vec![line("outcome", record, &json!(outcome), now)];
        lines.extend(metrics(&self.namespace, record, outcome, now));
        if let Err(error) = self.write(&lines) {
            tracing::error!(%error, "the audit line of a request cannot be written");
        }
    }

    /// Records one figure that belongs to no request.
    pub fn measure(&self, name: &str, unit: &str, value: u64, now: SystemTime) {
        if let Err(error) = self.write(&[embedded(&self.namespace, &[(name, unit, json!(value))], None, now)]) {
            tracing::error!(%error, name, "a metric cannot be written");
        }
    }

    fn write(&self, lines: &[Value]) -> io::Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

fn line(event: &str, record: &Record, outcome: &Value, now: SystemTime) -> Value {
    let mut line = json!({"event": event, "time": rfc3339_millis(now)});
    for part in [json!(record), outcome.clone()] {
        if let (Value::Object(line), Value::Object(part)) = (&mut line, part) {
            line.extend(part);
        }
    }
    line
}
