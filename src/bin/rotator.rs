//! The Lambda function that rotates the broker key: reads the configuration, hands events to [`hallpass::rotation`].

use std::io;
use std::process::ExitCode;
use std::time::SystemTime;

use hallpass::audit::Audit;
use hallpass::config::RotatorConfig;
use hallpass::lambda::start;
use hallpass::net::aws::SdkConfig;
use hallpass::rotation::{Event, Rotator};
use hallpass::time::until_millis;
use lambda_http::lambda_runtime::{Diagnostic, Runtime};
use lambda_http::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    start(environment, |lookup| RotatorConfig::from_lookup(lookup), run).await
}

async fn run(config: RotatorConfig, sdk: SdkConfig) -> Result<(), Error> {
    let audit = Audit::new(config.metrics_namespace.clone(), io::stdout());
    let rotator = Rotator::new(&sdk, config, audit)?;
    let rotator = &rotator;
    Runtime::new(service_fn(move |event: LambdaEvent<Value>| answer(rotator, event))).run().await
}

/// An error is answered as one: Lambda counts it for the alarm, and whoever invoked tries again.
async fn answer(rotator: &Rotator, event: LambdaEvent<Value>) -> Result<(), Diagnostic> {
    let now = now();
    let left = until_millis(event.context.deadline, now);
    let done = match Event::parse(&event.payload) {
        Ok(event) => rotator.handle(event, left, now).await,
        Err(error) => Err(error.into()),
    };
    let what = ["Step", "RequestType", "detail-type"].iter().find_map(|name| event.payload.get(name)?.as_str());
    let what = what.map(hallpass::audit::capped);
    match &done {
        Ok(()) => tracing::info!(what, "done"),
        Err(error) => tracing::error!(what, %error, "not done"),
    }
    done.map_err(|error| Diagnostic { error_type: "RotationError".into(), error_message: error.to_string() })
}

#[expect(clippy::disallowed_methods, reason = "main reads the environment, and passes it on")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::disallowed_methods, reason = "main reads the clock, and passes it on")]
fn now() -> SystemTime {
    SystemTime::now()
}
