//! Who signed a call?
//!
//! Signature Version 4, for the calls that AWS's JSON and Query protocols make: to `/`, without a query.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;

use crate::server::Call;

/// Whether this call was signed with this secret access key.
pub fn is_signed_with(call: &Call, secret: &str) -> bool {
    let authorization = call.header("authorization").unwrap_or_default();
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(name)?;
        rest.split(',').next()
    };
    let (Some(credential), Some(signed), Some(signature)) =
        (part("Credential="), part("SignedHeaders="), part("Signature="))
    else {
        return false;
    };
    let Some((_, scope)) = credential.split_once('/') else { return false };
    let header = |name: &str| format!("{name}:{}\n", call.header(name).unwrap_or_default().trim());
    let headers: String = signed.split(';').map(header).collect();
    let request = format!("{}\n{}\n\n{headers}\n{signed}\n{}", call.method, call.path, sha256(&call.body));
    let date = call.header("x-amz-date").unwrap_or_default();
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(request.as_bytes()));
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac_sha256(&key, part));
    HEXLOWER.encode(&hmac_sha256(&key, &to_sign)) == signature
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}
