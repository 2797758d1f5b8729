//! Which lines does a log group hold, and which of them does a search find?
//!
//! `CloudWatch` Logs: one log group, searched by `FilterLogEvents` with the part of the language of patterns that is asked
//! for here: `{ $.member = "text" && … }`, in which `*` is any text. All else is refused.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/matching-terms-json-log-events.html>

use serde_json::{Value, json};

use crate::server::Reply;

/// The log group of the audit lines.
pub const AUDIT_LOG: &str = "/hallpass-prod/function";

/// The text of `CloudWatch`'s own errors, which no client may ever see.
pub const UPSTREAM_TEXT: &str = "text of cloudwatch logs";

/// The most characters of a pattern.
const PATTERN_LIMIT: usize = 1_024;

/// The most events that the service looks at for one page.
const PAGE: usize = 10_000;

/// The log group.
#[derive(Debug, Default)]
pub struct LogGroup {
    /// In the order of their times.
    lines: Vec<LogLine>,
    /// How many lines are looked at for a page, which has those that match: also none.
    page_size: Option<usize>,
    /// Whether each page names itself as the next.
    pub never_ends: bool,
}

#[derive(Debug)]
struct LogLine {
    /// In milliseconds since the epoch.
    at: u64,
    text: String,
    /// The text as JSON, if it is.
    members: Option<Value>,
}

/// What the service calls an `InvalidParameterException`.
struct Invalid;

/// One comparison of a pattern: the member, and the parts of the text between `*`.
struct Term {
    member: String,
    parts: Vec<String>,
}

impl LogGroup {
    /// Writes a line, at a time in milliseconds since the epoch.
    pub fn write(&mut self, at: u64, text: impl Into<String>) {
        let text = text.into();
        let members = serde_json::from_str(&text).ok();
        let index = self.lines.partition_point(|line| line.at <= at);
        self.lines.insert(index, LogLine { at, text, members });
    }

    /// Looks at so many lines for a page.
    pub fn page(&mut self, size: usize) {
        self.page_size = Some(size);
    }

    pub(super) fn answer(&self, operation: &str, request: &Value) -> Reply {
        if operation != "FilterLogEvents" {
            return error(400, "UnknownOperationException");
        }
        if request["logGroupName"] != AUDIT_LOG {
            return error(400, "ResourceNotFoundException");
        }
        self.filter(request).unwrap_or_else(|Invalid| error(400, "InvalidParameterException"))
    }

    fn filter(&self, request: &Value) -> Result<Reply, Invalid> {
        const KNOWN: [&str; 5] = ["logGroupName", "filterPattern", "startTime", "endTime", "nextToken"];
        let members = request.as_object().ok_or(Invalid)?;
        if !members.keys().all(|name| KNOWN.contains(&name.as_str())) {
            return Err(Invalid);
        }
        let time = |name: &str| members.get(name).map(|time| time.as_u64().ok_or(Invalid)).transpose();
        let (since, until) = (time("startTime")?.unwrap_or(0), time("endTime")?.unwrap_or(u64::MAX));
        let terms = members.get("filterPattern").map(|text| pattern(text.as_str().ok_or(Invalid)?)).transpose()?;
        let from = match members.get("nextToken") {
            None => 0,
            Some(token) => {
                let number = token.as_str().and_then(|token| token.strip_prefix("page-"));
                number.and_then(|number| number.parse().ok()).ok_or(Invalid)?
            }
        };
        if since > until {
            return Err(Invalid);
        }
        let size = self.page_size.unwrap_or(PAGE);
        let mut looked_at = self.lines.iter().filter(|line| (since..=until).contains(&line.at)).skip(from);
        let page: Vec<&LogLine> = looked_at.by_ref().take(size).collect();
        let found = page.iter().filter(|line| terms.iter().flatten().all(|term| term.holds(line)));
        let events: Vec<Value> = found
            .map(|line| json!({"logStreamName": "s", "timestamp": line.at, "message": line.text, "ingestionTime": line.at}))
            .collect();
        let mut body = json!({"events": events, "searchedLogStreams": []});
        if self.never_ends {
            body["nextToken"] = json!(format!("page-{from}"));
        } else if looked_at.next().is_some() {
            body["nextToken"] = json!(format!("page-{}", from + page.len()));
        }
        Ok(Reply::new(200, "application/x-amz-json-1.1", body.to_string()))
    }
}

impl Term {
    fn holds(&self, line: &LogLine) -> bool {
        let text = line.members.as_ref().and_then(|members| members[self.member.as_str()].as_str());
        text.is_some_and(|text| self.is_like(text))
    }

    fn is_like(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else { return self.parts == [text] };
        let Some(mut rest) = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        for part in middle {
            let Some((_, behind)) = rest.split_once(part.as_str()) else { return false };
            rest = behind;
        }
        true
    }
}

/// Reads `{ $.member = "text" && … }`.
fn pattern(text: &str) -> Result<Vec<Term>, Invalid> {
    let inside = text.strip_prefix("{ ").and_then(|text| text.strip_suffix(" }"));
    let inside = inside.filter(|_| text.len() <= PATTERN_LIMIT).ok_or(Invalid)?;
    inside.split(" && ").map(term).collect()
}

fn term(text: &str) -> Result<Term, Invalid> {
    let (member, value) = text.strip_prefix("$.").and_then(|text| text.split_once(" = ")).ok_or(Invalid)?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).ok_or(Invalid)?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // What the service makes of these inside of quotes is not documented.
    let is_clear = |c: char| !c.is_control() && !['"', '\\', '%'].contains(&c);
    if member.is_empty() || !member.chars().all(is_name) || !value.chars().all(is_clear) {
        return Err(Invalid);
    }
    Ok(Term { member: member.to_owned(), parts: value.split('*').map(str::to_owned).collect() })
}

/// An error as `CloudWatch` Logs words it.
pub fn error(status: u16, code: &str) -> Reply {
    let body = json!({"__type": code, "message": UPSTREAM_TEXT});
    Reply::new(status, "application/x-amz-json-1.1", body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(group: &LogGroup, request: Value) -> Vec<Value> {
        let mut request = request;
        request["logGroupName"] = json!(AUDIT_LOG);
        let reply = group.answer("FilterLogEvents", &request);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        body["events"].as_array().unwrap().iter().map(|event| event["timestamp"].clone()).collect()
    }

    fn group() -> LogGroup {
        let mut group = LogGroup::default();
        group.write(3, r#"{"a":"carol","b":"x"}"#);
        group.write(1, r#"{"a":"carol"}"#);
        group.write(2, r#"{"a":"caroline","b":"x"}"#);
        group.write(4, "START carol");
        group
    }

    #[test]
    fn a_pattern_finds_the_lines_that_it_describes() {
        let group = group();
        for (pattern, expected) in [
            (r#"{ $.a = "carol" }"#, json!([1, 3])),
            (r#"{ $.a = "carol*" }"#, json!([1, 2, 3])),
            (r#"{ $.a = "*line" && $.b = "x" }"#, json!([2])),
            (r#"{ $.b = "*" }"#, json!([2, 3])),
            (r#"{ $.a = "c*r*l*e" }"#, json!([2])),
        ] {
            assert_eq!(json!(found(&group, json!({"filterPattern": pattern}))), expected, "{pattern}");
        }
        assert_eq!(json!(found(&group, json!({"startTime": 2, "endTime": 3}))), json!([2, 3]));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let group = group();
        for request in [
            json!({"filterPattern": "carol"}),
            json!({"filterPattern": r#"{ $.a = carol }"#}),
            json!({"filterPattern": r#"{ $.a = "c\"l" }"#}),
            json!({"filterPattern": format!(r#"{{ $.a = "{}" }}"#, "x".repeat(PATTERN_LIMIT))}),
            json!({"limit": 5}),
            json!({"nextToken": "7"}),
            json!({"startTime": -1}),
            json!({"startTime": 2, "endTime": 1}),
        ] {
            let mut request = request;
            request["logGroupName"] = json!(AUDIT_LOG);
            assert_eq!(group.answer("FilterLogEvents", &request).status, 400, "{request}");
        }
        assert_eq!(group.answer("FilterLogEvents", &json!({"logGroupName": "other"})).status, 400);
        assert_eq!(group.answer("PutLogEvents", &json!({"logGroupName": AUDIT_LOG})).status, 400);
    }

    #[test]
    fn a_page_can_be_empty_and_name_another() {
        let mut group = group();
        group.page(3);
        let mut request = json!({"logGroupName": AUDIT_LOG, "filterPattern": r#"{ $.x = "y" }"#});
        let body: Value = serde_json::from_str(&group.answer("FilterLogEvents", &request).body).unwrap();
        assert_eq!((&body["events"], &body["nextToken"]), (&json!([]), &json!("page-3")));
        request["nextToken"] = body["nextToken"].clone();
        let body: Value = serde_json::from_str(&group.answer("FilterLogEvents", &request).body).unwrap();
        assert_eq!(body["nextToken"], Value::Null);
    }
}
