//! What does the sign-in host give for credentials?

use std::time::Duration;

use hyper::{Method, header};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use url::Url;

use super::console::{Console, SignInToken, question};
use super::sts::Issued;
use crate::net::https::{Https, NoAnswer, request_to};

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

impl From<NoAnswer> for SignInError {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Unreachable => Self::Unreachable,
            NoAnswer::Status(status) => Self::Status(status),
            NoAnswer::TooLarge => Self::TooLarge,
        }
    }
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

    /// Trades credentials for the address that opens `page`, for at most `TIME_LIMIT`. AWS sends people to `portal` when
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
        let headers =
            [(header::CONTENT_TYPE, "application/x-www-form-urlencoded"), (header::ACCEPT, "application/json")];
        let request = request_to(Method::POST, endpoint, &headers, form.expose_secret().to_owned().into())?;
        let answer = self.https.connect(endpoint).await?.ask(request, MAX_BYTES).await?;
        SignInToken::read(&answer).ok_or(SignInError::NoToken)
    }
}
