//! The Lambda function: reads the configuration, prepares what the first request needs, answers events.

use std::io;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use hallpass::audit::Audit;
use hallpass::broker::Broker;
use hallpass::config::Config;
use hallpass::credentials::BrokerKeys;
use hallpass::grants::Store;
use hallpass::http::Function;
use hallpass::identity::{HttpClient, Identity};
use hallpass::problems::Problems;
use hallpass::upstream::{self, SdkConfig};
use lambda_http::lambda_runtime::{LambdaInvocation, Runtime};
use lambda_http::tower::Service;
use lambda_http::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Lambda bills, and callers wait for, the init phase; what is not there by then is fetched by the first request.
const PREPARE_LIMIT: Duration = Duration::from_millis(500);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    log_to_stderr();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let (config, sdk) = configuration().inspect_err(|problems| {
        for problem in problems.iter() {
            tracing::error!(problem, "the configuration is wrong");
        }
    })?;
    let identity = Identity::new(config.issuers, &HttpClient::new()?);
    let store = Store::new(&sdk, config.table, config.state);
    let keys = BrokerKeys::new(&sdk, config.broker_key);
    let audit = Audit::new(config.metrics_namespace, io::stdout());
    let broker = Arc::new(Broker::new(identity, store, keys, audit));
    broker.prepare(PREPARE_LIMIT, now()).await;

    let function = Function::new(broker, config.allowed_origins);
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let function = function.clone();
        async move { Ok::<_, Error>(function.answer(event.payload, &event.context.request_id, now()).await) }
    });
    Runtime::new(handler).layer(lambda_http::tower::layer::layer_fn(JsonOnly)).run_concurrent().await
}

/// All of it, or all that is wrong with it.
fn configuration() -> Result<(Config, SdkConfig), Problems> {
    match (Config::from_lookup(environment), upstream::sdk_config(environment)) {
        (Ok(config), Ok(sdk)) => Ok((config, sdk)),
        (Ok(_), Err(problems)) | (Err(problems), Ok(_)) => Err(problems),
        (Err(mut problems), Err(more)) => {
            problems.append(more);
            Err(problems)
        }
    }
}

/// Makes an event that is not JSON one that is `null`: it is answered like any other malformed event, where the
/// runtime would report an invocation error, or stop.
#[derive(Clone)]
struct JsonOnly<S>(S);

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for JsonOnly<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> S::Future {
        // As a whole value, since skipping over a part would overlook, say, a broken escape in a string.
        if serde_json::from_slice::<Value>(&invocation.body).is_err() {
            invocation.body = "null".into();
        }
        self.0.call(invocation)
    }
}

/// Logs as JSON, at the level that `RUST_LOG` asks for. Only our own modules go below `INFO`: the runtime logs whole
/// events at `TRACE`, the SDKs whole requests, and both hold tokens and secrets.
fn log_to_stderr() {
    let asked = environment("RUST_LOG").and_then(|text| Targets::from_str(&text).ok());
    let asked = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let default = asked.default_level().unwrap_or(LevelFilter::ERROR);
    let ours = |target: &str| target == "hallpass" || target.starts_with("hallpass::") || target == "broker";
    let capped = asked.into_iter().map(|(target, level)| {
        let level = if ours(&target) { level } else { level.min(LevelFilter::INFO) };
        (target, level)
    });
    let targets = Targets::new()
        .with_default(default.min(LevelFilter::INFO))
        .with_targets([("hallpass", default), ("broker", default)])
        .with_targets(capped.collect::<Vec<_>>());
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
}

#[expect(clippy::disallowed_methods, reason = "main reads the environment, and passes it on")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::disallowed_methods, reason = "main reads the clock, and passes it on")]
fn now() -> SystemTime {
    SystemTime::now()
}
