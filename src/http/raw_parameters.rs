//! Where in an event are the parameters?

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::http::{Method, header};

use super::parameters::RawParameters;

/// What may hold parameters, with the grant that the route found in the path.
pub(super) fn raw_parameters<'a>(event: &'a ApiGatewayV2httpRequest, grant: Option<&'a str>) -> RawParameters<'a> {
    let media_type = event.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    RawParameters {
        grant,
        query: event.raw_query_string.as_deref().unwrap_or_default(),
        body: event.body.as_deref().unwrap_or_default(),
        body_is_base64: event.is_base64_encoded,
        media_type: media_type.unwrap_or_default(),
        takes_body: event.request_context.http.method == Method::POST,
    }
}
