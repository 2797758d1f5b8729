//! What does the sign-in host give for credentials?

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{Method, header};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

use super::console::{Console, SignInToken, question};
use super::sts::Issued;
use crate::net::https::{Https, Unreachable, request_to};

/// For the whole exchange, with the connection. It comes on top of the request's own limit: only a browser waits for it,
/// and no SDK.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(3);
/// A token has some kilobytes.
const MAX_BYTES: usize = 64 * 1024;

/// Why the sign-in host gave nothing. Holds nothing of what it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// No answer in time.
    #[error("the sign-in host did not answer within 3 s")]
    TooSlow,
    /// No connection, or one that broke.
    #[error("the connection to the sign-in host failed")]
    Unreachable,
    /// An answer with another status than 200.
    #[error("the sign-in host answered with status {0}")]
    Status(u16),
    /// An answer over the bound.
    #[error("the sign-in host answered with more than 64 KiB")]
    TooLarge,
    /// An answer that is not a sign-in.
    #[error("the answer of the sign-in host has no sign-in token")]
    NoToken,
}

impl SignInError {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooSlow => "sign_in_too_slow",
            Self::Unreachable => "sign_in_unreachable",
            Self::Status(_) => "sign_in_refused",
            Self::TooLarge | Self::NoToken => "sign_in_malformed",
        }
    }
}

/// The sign-in host of the partition in which the function runs.
#[derive(Debug)]
pub struct SignInHost {
    https: Https,
    console: Console,
}

impl SignInHost {
    /// Asks for sign-ins to `console` over `https`.
    #[must_use]
    pub fn new(https: &Https, console: Console) -> Self {
        Self { https: https.clone(), console }
    }

    #[must_use]
    pub const fn console(&self) -> &Console {
        &self.console
    }

    /// Trades credentials for the address that opens `page`, for at most [`TIME_LIMIT`]. AWS sends people to `portal` when
    /// the session ends.
    ///
    /// # Errors
    /// [`SignInError`] says how the host failed.
    pub async fn trade(&self, issued: &Issued, portal: &str, page: &Url) -> Result<SecretString, SignInError> {
        let token = timeout(TIME_LIMIT, self.ask(issued)).await.unwrap_or(Err(SignInError::TooSlow))?;
        Ok(self.console.address(portal, page, &token))
    }

    /// Asks once. Nothing is tried again, and no redirect is followed: the credentials go to this host, or nowhere.
    #[expect(clippy::disallowed_methods, reason = "the sign-in host gets the credentials")]
    async fn ask(&self, issued: &Issued) -> Result<SignInToken, SignInError> {
        let endpoint = self.console.federation();
        let form = question(&issued.access_key_id, &issued.secret_access_key, &issued.session_token);
        let request = request_to(Method::POST, endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(form.expose_secret().to_owned())))
            .map_err(|_| SignInError::Unreachable)?;
        let connected = self.https.connect(endpoint).await;
        let (mut sender, connection) = connected.map_err(|Unreachable| SignInError::Unreachable)?;
        // The connection ends with this exchange.
        let mut connections = JoinSet::new();
        connections.spawn(connection);
        let response = sender.send_request(request).await.map_err(|_| SignInError::Unreachable)?;
        if response.status() != 200 {
            return Err(SignInError::Status(response.status().as_u16()));
        }
        let body = match Limited::new(response.into_body(), MAX_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(SignInError::TooLarge),
            Err(_) => return Err(SignInError::Unreachable),
        };
        SignInToken::read(&body).ok_or(SignInError::NoToken)
    }
}
