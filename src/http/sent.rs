//! Which parameters came with an event?

use data_encoding::BASE64;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::http::{Method, header};

use super::parameters::{Invalid, Parameters};

/// Parameters need some hundred bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// Reads the parameters: the grant of the path, if there is one, and what was sent with it.
pub(super) fn parameters(event: &ApiGatewayV2httpRequest, grant: Option<&str>) -> Result<Parameters, Invalid> {
    let sent = sent_parameters(event)?;
    match grant {
        Some(grant) => sent.with_grant_of_path(grant),
        None => Ok(sent),
    }
}

/// Reads the parameters of the query, or of the JSON body of a POST.
fn sent_parameters(event: &ApiGatewayV2httpRequest) -> Result<Parameters, Invalid> {
    let query = event.raw_query_string.as_deref().unwrap_or_default();
    let body = event.body.as_deref().unwrap_or_default();
    if body.is_empty() {
        return Parameters::from_query(query);
    }
    if event.request_context.http.method != Method::POST {
        return Err(Invalid::Request("a GET takes no body"));
    }
    if !query.is_empty() {
        return Err(Invalid::Request("send either a query or a body, not both"));
    }
    // Four characters of base64 are at most three bytes: what is longer is too large without decoding it.
    let decoded = if event.is_base64_encoded {
        if body.len() / 4 > MAX_BODY_BYTES / 3 + 1 {
            return Err(Invalid::TooLarge);
        }
        BASE64.decode(body.as_bytes()).map_err(|_| Invalid::Request("the body is not base64"))?
    } else {
        body.as_bytes().to_owned()
    };
    if decoded.len() > MAX_BODY_BYTES {
        return Err(Invalid::TooLarge);
    }
    let media_type = event.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Invalid::MediaType);
    }
    Parameters::from_body(&decoded)
}

/// Makes sure that a route without parameters is given none.
pub(super) fn no_parameters(event: &ApiGatewayV2httpRequest) -> Result<(), Invalid> {
    if event.body.as_deref().is_some_and(|body| !body.is_empty()) {
        return Err(Invalid::Request("a GET takes no body"));
    }
    if event.raw_query_string.as_deref().is_some_and(|query| !query.is_empty()) {
        return Err(Invalid::Request("the query has a field that is not known"));
    }
    Ok(())
}
