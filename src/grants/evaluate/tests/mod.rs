//! Does it decide as AWS documents?

mod documented;
mod properties;
pub(in crate::grants) mod random;
mod shapes;

use serde_json::{Value, json};

use super::*;

/// A context of these keys: a string, a list of strings, or `null` for a key that is absent.
pub(in crate::grants) fn context(keys: &Value) -> Context {
    let mut context = Context::default();
    for (key, value) in keys.as_object().unwrap() {
        match value {
            Value::Null => context.set_absent(key),
            Value::Array(values) => context.set(key, values.iter().map(|value| value.as_str().unwrap())),
            Value::String(value) => context.set(key, [value]),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => panic!("{key} is {value}"),
        }
    }
    context
}

pub(in crate::grants) fn policies(documents: &[Value]) -> Policies {
    let parse = |(index, document)| Document::parse(format!("policy {index}"), document).unwrap();
    Policies::new(documents.iter().enumerate().map(parse).collect())
}

fn statement(effect: &str, action: &str, resource: &str) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": resource})
}

fn document(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn asked() -> Asked {
    Asked::new("s3:GetObject", "arn:aws:s3:::reports/2026/q3.csv").unwrap()
}

/// What one statement that allows everything under this condition comes to.
fn under(condition: &Value, keys: &Value) -> Decision {
    let mut allow = statement("Allow", "*", "*");
    allow["Condition"] = condition.clone();
    evaluate(&policies(&[document(&[allow])]), None, &asked(), &context(keys)).result.decision()
}
