//! Who invokes the rotator, and what for?
//!
//! Secrets Manager, EventBridge by the hour, and CloudFormation when the stack comes and goes. Anything else is refused.

use serde_json::{Map, Value};
use url::Url;

use crate::net::url::is_private;

/// What the rotator is invoked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Secrets Manager wants one step of a rotation done.
    Rotation {
        step: Step,
        secret_id: String,
        /// The id of the version that is being made.
        token: String,
    },
    /// An hour has gone.
    Hourly,
    /// The stack's resource `BrokerKeys` comes, changes or goes.
    Stack(StackEvent),
}

/// A step of a rotation.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make the new key.
    CreateSecret,
    /// Make it known to the service, which IAM does by itself.
    SetSecret,
    /// See that it works.
    TestSecret,
    /// Make it current.
    FinishSecret,
}

/// What CloudFormation asks of a custom resource.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackEvent {
    /// What happens to the resource.
    pub request: StackRequest,
    /// The user that the resource stands for.
    pub user: Option<String>,
    /// Where the answer goes.
    pub response_url: Url,
    /// These are sent back as they came.
    pub stack_id: String,
    pub request_id: String,
    /// The resource's name in the template.
    pub logical_id: String,
    /// The name that it was given when it was made.
    pub physical_id: Option<String>,
}

/// What happens to a resource of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackRequest {
    Create,
    Update,
    Delete,
}

/// Why an event is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// It is none of those that the rotator is made for.
    #[error("the event is neither a rotation step, nor a scheduled event, nor a request of CloudFormation")]
    Unknown,
    /// It lacks a part, or has a wrong one.
    #[error("the event's `{0}` is missing or wrong")]
    Malformed(&'static str),
    /// It is about a user whose keys are none of the rotator's business.
    #[error("the event's `UserName` is not HALLPASS_BROKER_USER")]
    OtherUser,
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    /// [`EventError`] says what is wrong with it.
    pub fn parse(event: &Value) -> Result<Self, EventError> {
        let event = event.as_object().ok_or(EventError::Unknown)?;
        if event.contains_key("Step") {
            return rotation(event);
        }
        if event.contains_key("RequestType") {
            return stack(event).map(Self::Stack);
        }
        let is = |name: &str, value: &str| event.get(name).and_then(Value::as_str) == Some(value);
        (is("source", "aws.events") && is("detail-type", "Scheduled Event"))
            .then_some(Self::Hourly)
            .ok_or(EventError::Unknown)
    }
}

fn rotation(event: &Map<String, Value>) -> Result<Event, EventError> {
    let step = match text(event, "Step")?.as_str() {
        "createSecret" => Step::CreateSecret,
        "setSecret" => Step::SetSecret,
        "testSecret" => Step::TestSecret,
        "finishSecret" => Step::FinishSecret,
        _ => return Err(EventError::Malformed("Step")),
    };
    Ok(Event::Rotation { step, secret_id: text(event, "SecretId")?, token: text(event, "ClientRequestToken")? })
}

fn stack(event: &Map<String, Value>) -> Result<StackEvent, EventError> {
    let request = match text(event, "RequestType")?.as_str() {
        "Create" => StackRequest::Create,
        "Update" => StackRequest::Update,
        "Delete" => StackRequest::Delete,
        _ => return Err(EventError::Malformed("RequestType")),
    };
    let response_url = Url::parse(&text(event, "ResponseURL")?).ok().filter(is_private);
    let user = event.get("ResourceProperties").and_then(|properties| properties.get("UserName"));
    Ok(StackEvent {
        request,
        user: user.and_then(Value::as_str).map(str::to_owned),
        response_url: response_url.ok_or(EventError::Malformed("ResponseURL"))?,
        stack_id: text(event, "StackId")?,
        request_id: text(event, "RequestId")?,
        logical_id: text(event, "LogicalResourceId")?,
        physical_id: text(event, "PhysicalResourceId").ok(),
    })
}

fn text(event: &Map<String, Value>, name: &'static str) -> Result<String, EventError> {
    let text = event.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or(EventError::Malformed(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn step() -> Value {
        json!({"Step": "createSecret", "SecretId": "arn:of:the:secret", "ClientRequestToken": "token"})
    }

    fn hourly() -> Value {
        json!({"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}})
    }

    fn deletion() -> Value {
        json!({
            "RequestType": "Delete", "ResponseURL": "https://cloudformation.example.com/?signature=x",
            "StackId": "stack", "RequestId": "request", "LogicalResourceId": "BrokerKeys", "PhysicalResourceId": "keys",
            "ResourceType": "Custom::BrokerKeys", "ResourceProperties": {"ServiceToken": "arn", "UserName": "broker"},
        })
    }

    fn with(mut event: Value, name: &str, value: Value) -> Result<Event, EventError> {
        event[name] = value;
        Event::parse(&event)
    }

    #[test]
    fn each_kind_of_event_is_known() {
        let (secret_id, token) = ("arn:of:the:secret".to_owned(), "token".to_owned());
        for (name, step_of) in [
            ("createSecret", Step::CreateSecret),
            ("setSecret", Step::SetSecret),
            ("testSecret", Step::TestSecret),
            ("finishSecret", Step::FinishSecret),
        ] {
            let expected = Event::Rotation { step: step_of, secret_id: secret_id.clone(), token: token.clone() };
            assert_eq!(with(step(), "Step", json!(name)), Ok(expected));
        }
        assert_eq!(Event::parse(&hourly()), Ok(Event::Hourly));
        for (name, request) in
            [("Create", StackRequest::Create), ("Update", StackRequest::Update), ("Delete", StackRequest::Delete)]
        {
            let Ok(Event::Stack(event)) = with(deletion(), "RequestType", json!(name)) else { panic!("{name}") };
            assert_eq!((event.request, event.user.as_deref()), (request, Some("broker")));
            assert_eq!(event.physical_id.as_deref(), Some("keys"));
        }
    }

    #[test]
    fn any_other_event_is_refused() {
        for event in
            [json!(null), json!([]), json!({}), json!("createSecret"), json!({"detail-type": "Scheduled Event"})]
        {
            assert_eq!(Event::parse(&event), Err(EventError::Unknown), "{event}");
        }
        assert_eq!(with(hourly(), "source", json!("com.example")), Err(EventError::Unknown));
        assert_eq!(with(hourly(), "detail-type", json!("AWS API Call via CloudTrail")), Err(EventError::Unknown));
    }

    #[test]
    fn an_event_with_a_wrong_part_is_refused() {
        for value in [json!(null), json!(1), json!(""), json!("dropSecret"), json!("CREATESECRET")] {
            assert_eq!(with(step(), "Step", value), Err(EventError::Malformed("Step")));
        }
        for part in ["SecretId", "ClientRequestToken"] {
            for value in [json!(null), json!(""), json!(["x"])] {
                assert_eq!(with(step(), part, value), Err(EventError::Malformed(part)));
            }
        }
        for value in [json!(null), json!("delete"), json!("Remove")] {
            assert_eq!(with(deletion(), "RequestType", value), Err(EventError::Malformed("RequestType")));
        }
        for part in ["StackId", "RequestId", "LogicalResourceId", "ResponseURL"] {
            assert_eq!(with(deletion(), part, json!(null)), Err(EventError::Malformed(part)));
        }
    }

    #[test]
    fn an_answer_goes_nowhere_in_clear_but_to_this_machine() {
        for url in ["https://s3.example.com/x", "http://127.0.0.1:4701/x"] {
            assert!(with(deletion(), "ResponseURL", json!(url)).is_ok(), "{url}");
        }
        for url in ["http://s3.example.com/x", "ftp://127.0.0.1/", "x"] {
            assert_eq!(with(deletion(), "ResponseURL", json!(url)), Err(EventError::Malformed("ResponseURL")), "{url}");
        }
    }
}
