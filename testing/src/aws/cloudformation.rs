//! Which stack is deployed, and what are its parts called?

use std::collections::BTreeMap;

use super::query;
use crate::server::Reply;

/// The name of the stack.
pub const STACK: &str = "hallpass-prod";

/// The ARN of the stack.
pub const STACK_ID: &str = "arn:aws:cloudformation:eu-central-1:111122223333:stack/hallpass-prod/5c2b6a1e";

/// The one stack.
#[derive(Debug, Default)]
pub struct Stack {
    pub outputs: BTreeMap<&'static str, &'static str>,
}

impl Stack {
    pub(super) fn answer(&self, fields: &BTreeMap<String, String>) -> Reply {
        if fields.get("StackName").map(String::as_str) != Some(STACK) {
            return query::error(400, "ValidationError");
        }
        let output =
            |(key, value)| format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>");
        let outputs: String = self.outputs.iter().map(output).collect();
        query::answer(
            "DescribeStacks",
            &format!(
                "<Stacks><member><StackName>{STACK}</StackName><StackId>{STACK_ID}</StackId><CreationTime>2026-01-01T00:00:00Z</CreationTime>\
                 <StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs></member></Stacks>"
            ),
        )
    }
}
