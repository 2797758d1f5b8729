//! The Lambda function: reads the configuration, prepares what the first request needs, answers events.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use hallpass::audit::Audit;
use hallpass::broker::Broker;
use hallpass::config::Config;
use hallpass::credentials::{BrokerKeys, SignInHost};
use hallpass::grants::Store;
use hallpass::http::{About, Function};
use hallpass::identity::Identity;
use hallpass::lambda::start;
use hallpass::net::aws::SdkConfig;
use hallpass::net::https::Https;
use hallpass::read::json::is_value;
use lambda_http::lambda_runtime::{LambdaInvocation, Runtime};
use lambda_http::tower::Service;
use lambda_http::{Error, LambdaEvent, service_fn};
use serde_json::Value;

/// Lambda bills, and callers wait for, the init phase; what is not there by then is fetched by the first request.
const PREPARE_LIMIT: Duration = Duration::from_millis(500);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    start(environment, |lookup| Config::from_lookup(lookup), run).await
}

async fn run(config: Config, sdk: SdkConfig, https: Https) -> Result<(), Error> {
    let about = About::new(config.public_url, &config.issuers);
    let identity = Identity::new(config.issuers, &https);
    let store = Store::new(&sdk, config.table, config.state);
    let keys = BrokerKeys::new(&sdk, config.broker_key);
    let sign_in_host = config.console.map(|console| SignInHost::new(&https, console));
    let audit = Audit::new(config.metrics_namespace, io::stdout());
    let broker = Arc::new(Broker::new(identity, store, keys, sign_in_host, audit));
    broker.prepare(PREPARE_LIMIT, now()).await;

    let function = Function::new(broker, config.allowed_origins, about);
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let function = function.clone();
        async move { Ok::<_, Error>(function.answer(event.payload, &event.context.request_id, now()).await) }
    });
    Runtime::new(handler).layer(lambda_http::tower::layer::layer_fn(JsonOnly)).run_concurrent().await
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
        if !is_value(&invocation.body) {
            invocation.body = "null".into();
        }
        self.0.call(invocation)
    }
}

#[expect(clippy::disallowed_methods, reason = "main reads the environment, and passes it on")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::disallowed_methods, reason = "main reads the clock, and passes it on")]
fn now() -> SystemTime {
    SystemTime::now()
}
