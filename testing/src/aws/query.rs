//! How do the services of the Query protocol answer?
//!
//! IAM, STS and `CloudFormation` take a form and answer XML.

use crate::server::Reply;

/// The text of these services' own errors, which no client may ever see.
pub const UPSTREAM_TEXT: &str = "text of sts";

/// The service's own id of every request.
pub const REQUEST_ID: &str = "c0ffee00-0000-4000-8000-00000000057e";

/// An answer with this result.
pub fn answer(operation: &str, result: &str) -> Reply {
    let body = format!(
        "<{operation}Response><{operation}Result>{result}</{operation}Result>\
         <ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></{operation}Response>"
    );
    Reply::new(200, "text/xml", body).header("x-amzn-requestid", REQUEST_ID)
}

/// An error as these services word it.
pub fn error(status: u16, code: &str) -> Reply {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{UPSTREAM_TEXT}</Message></Error>\
         <RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    );
    Reply::new(status, "text/xml", body).header("x-amzn-requestid", REQUEST_ID)
}
