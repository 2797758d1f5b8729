//! The rotator in the test's own process, without a network.
//!
//! Hundreds of plays differ in the call that fails, or at which the rotator dies. Each needs several rotators, and most of
//! its time is waiting. Here a rotator costs no process and no connection, and a test that holds the clock still
//! (`start_paused`) waits for nothing. Its requests are what the SDKs would send; a crash is the end of its future.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use hallpass::audit::Audit;
use hallpass::config::RotatorConfig;
use hallpass::net::aws::Settings;
use hallpass::net::https::Https;
use hallpass::rotation::{Event, Rotator};
use serde_json::{Value, json};

use hallpass_testing::aws::account::Account;
use hallpass_testing::runtime_api::Outcome;
use hallpass_testing::server::{Call, Server};

use super::{Rotates, TIME_LIMIT, environment};

/// A rotator that asks one account.
#[derive(Debug)]
pub(super) struct InProcess {
    rotator: Rotator,
    time_limit: Cell<Duration>,
}

impl InProcess {
    pub(super) fn new(account: &Account) -> Self {
        static HTTPS: LazyLock<Https> = LazyLock::new(|| {
            Https::from_lookup(|name| (name == "SSL_CERT_FILE").then(|| hallpass_testing::CERTIFICATES.to_owned()))
                .unwrap()
        });
        let variables = environment(account);
        let lookup = move |name: &str| variables.get(name).cloned();
        let config = RotatorConfig::from_lookup(&lookup).unwrap();
        let connector = SharedHttpConnector::new(Straight(account.server.clone()));
        let sdk = Settings::from_lookup(lookup).unwrap().over(&HTTPS);
        let sdk = sdk
            .into_builder()
            .http_client(http_client_fn(move |_: &HttpConnectorSettings, _| connector.clone()))
            .build();
        let audit = Audit::new(config.metrics_namespace.clone(), std::io::sink());
        Self { rotator: Rotator::new(&sdk, &HTTPS, config, audit), time_limit: Cell::new(TIME_LIMIT) }
    }
}

impl Rotates for InProcess {
    async fn invoke(&self, event: &Value) -> Outcome {
        let event = Event::parse(event).map_err(|error| json!(error.to_string()))?;
        let done = self.rotator.handle(event, self.time_limit.get(), SystemTime::now()).await;
        done.map(|()| Value::Null).map_err(|error| json!({ "errorMessage": error.to_string() }))
    }

    fn set_time_limit(&self, limit: Duration) {
        self.time_limit.set(limit);
    }
}

/// Takes the SDKs' requests straight to the account.
#[derive(Debug)]
struct Straight(Server);

impl HttpConnector for Straight {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let server = self.0.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            // A connection would add it.
            let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            request.headers_mut().entry("host").or_insert(host.parse().unwrap());
            let call = Call::read(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            let answer = server.ask(call).await.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
