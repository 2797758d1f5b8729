//! How does CloudFormation learn how it went?
//!
//! By a PUT to the address in its request, without which a stack waits for an hour.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html>

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use super::{RotationError, StackEvent};
use crate::net::https::Https;

/// S3, which takes the answer, answers within a fraction of it.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// A stack that is not answered waits for an hour.
const ATTEMPTS: u32 = 4;
/// Before the second attempt; doubled from there.
const BACKOFF: Duration = Duration::from_millis(500);

/// Answers CloudFormation.
#[derive(Debug)]
pub(super) struct StackClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl StackClient {
    pub(super) fn new(https: &Https) -> Self {
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https.connector()))
    }

    /// Tells how it went. What went wrong is then the stack's to show, and no error of the invocation's.
    pub(super) async fn answer(
        &self,
        event: &StackEvent,
        done: Result<(), RotationError>,
    ) -> Result<(), RotationError> {
        let user = event.user.as_deref().unwrap_or_default();
        let (status, reason) = match done {
            Ok(()) => ("SUCCESS", String::new()),
            Err(error) => {
                tracing::error!(%error, "the request of CloudFormation failed");
                ("FAILED", error.to_string())
            }
        };
        let answer = json!({
            "Status": status,
            "Reason": reason,
            "PhysicalResourceId": event.physical_id.clone().unwrap_or_else(|| format!("access-keys-of-{user}")),
            "StackId": event.stack_id,
            "RequestId": event.request_id,
            "LogicalResourceId": event.logical_id,
        });
        let body = Bytes::from(answer.to_string());
        let mut backoff = BACKOFF;
        for attempt in 1..=ATTEMPTS {
            match tokio::time::timeout(TIME_LIMIT, self.put(event, body.clone())).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if attempt == ATTEMPTS => return Err(error),
                _ => tokio::time::sleep(backoff).await,
            }
            backoff = backoff.saturating_mul(2);
        }
        Err(RotationError::Untold("no answer in time"))
    }

    async fn put(&self, event: &StackEvent, body: Bytes) -> Result<(), RotationError> {
        // The address is signed for an empty content type.
        let request = Request::put(event.response_url.as_str()).header(header::CONTENT_TYPE, "").body(Full::new(body));
        let request = request.map_err(|_| RotationError::Untold("the address is not a URI"))?;
        let response = self.0.request(request).await.map_err(|_| RotationError::Untold("no connection"))?;
        if response.status().is_success() { Ok(()) } else { Err(RotationError::Untold("refused")) }
    }
}
