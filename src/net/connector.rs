//! How do the SDKs' requests go over our connections?
//!
//! The SDKs' own client would read the certificate authorities once for each service and again for the requests. This
//! one is made once, and treats errors as theirs does, so that they are retried alike.

use std::error::Error;
use std::io;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector as SdkConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use http_body_util::BodyExt as _;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::https::{Body, Https};

/// All requests of all SDKs, over one pool of connections.
#[derive(Debug)]
pub(super) struct Connections(SharedHttpConnector);

impl Connections {
    /// Closes a connection that was idle for so long.
    pub(super) fn new(https: &Https, idle: Duration) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(idle)
            .build(https.connector());
        Self(SharedHttpConnector::new(Connector(client)))
    }
}

impl HttpClient for Connections {
    /// The settings hold time-outs for connecting and reading. Each attempt has a shorter one for the whole.
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        self.0.clone()
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some("1.x".into())))
    }
}

#[derive(Debug)]
struct Connector(Client<HttpsConnector<HttpConnector>, Body>);

impl SdkConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let used = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || metadata(&used));
        }
        let answer = self.0.request(request.map(SdkBody::boxed_unsync));
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(|error| classed(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// So that the SDK can take a connection out of the pool on which a request failed.
fn metadata(used: &CaptureConnection) -> Option<ConnectionMetadata> {
    used.connection_metadata().as_ref()?;
    let used = used.clone();
    let poison = move || {
        if let Some(connection) = used.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    Some(ConnectionMetadata::builder().proxied(false).poison_fn(poison).build())
}

/// Whether an error is one to retry, as the SDKs' own client has it.
fn classed(error: BoxError) -> ConnectorError {
    let has_io = cause::<io::Error>(error.as_ref()).is_some();
    let Some(of_hyper) = cause::<hyper::Error>(error.as_ref()) else {
        let unconnected = cause(error.as_ref()).is_some_and(hyper_util::client::legacy::Error::is_connect);
        return if unconnected || has_io { ConnectorError::io(error) } else { ConnectorError::other(error, None) };
    };
    if of_hyper.is_timeout() {
        ConnectorError::timeout(error)
    } else if of_hyper.is_user() {
        ConnectorError::user(error)
    } else if of_hyper.is_closed() || of_hyper.is_canceled() || has_io {
        ConnectorError::io(error)
    } else if of_hyper.is_incomplete_message() {
        ConnectorError::other(error, Some(ErrorKind::TransientError))
    } else {
        ConnectorError::other(error, None)
    }
}

fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}
