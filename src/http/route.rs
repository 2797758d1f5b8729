//! Which route is an event for?

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::http::Method;

use crate::wire::METADATA_PATH;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Credentials,
    CredentialsOfGrant,
    Console,
    Grants,
    Health,
    Metadata,
    Portal,
    PortalFile,
}

impl Route {
    const ALL: [Self; 8] = [
        Self::Credentials,
        Self::CredentialsOfGrant,
        Self::Console,
        Self::Grants,
        Self::Health,
        Self::Metadata,
        Self::Portal,
        Self::PortalFile,
    ];

    /// As the gateway's route keys write it: `{grant}` and `{file}` stand for one segment.
    const fn path(self) -> &'static str {
        match self {
            Self::Credentials => "/v1/credentials",
            Self::CredentialsOfGrant => "/v1/credentials/{grant}",
            Self::Console => "/v1/console",
            Self::Grants => "/v1/grants",
            Self::Health => "/v1/health",
            Self::Metadata => METADATA_PATH,
            Self::Portal => "/",
            Self::PortalFile => "/portal/{file}",
        }
    }

    pub(super) const fn allow(self) -> &'static str {
        match self {
            Self::Credentials | Self::CredentialsOfGrant => "GET, POST, OPTIONS",
            Self::Console => "POST, OPTIONS",
            Self::Grants => "GET, OPTIONS",
            Self::Health | Self::Metadata => "GET, HEAD, OPTIONS",
            // Pages of other origins have nothing to ask here.
            Self::Portal | Self::PortalFile => "GET, HEAD",
        }
    }

    pub(super) fn allows(self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }

    /// The route that an event is for, and the grant or file that the path names there. A custom domain may put a prefix
    /// before the path, and a stage its name. These readings cannot contradict each other: each route begins with `/v1`,
    /// `/portal` or `/.well-known`, and what the path names is its last segment; but for the portal, which is at a final
    /// slash, as no other route is. The gateway's `pathParameters` are not read.
    ///
    /// The metadata is found behind the prefix and before it (RFC 9728 §3.1): `public_path` is the path of the function's
    /// own URL.
    pub(super) fn of<'a>(event: &'a ApiGatewayV2httpRequest, public_path: &str) -> Option<(Self, Option<&'a str>)> {
        let path = event.raw_path.as_deref().unwrap_or_default();
        let stage = event.request_context.stage.as_deref().filter(|stage| *stage != "$default");
        let behind_stage = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage)).and_then(Self::at);
        let key = event.route_key.as_deref().and_then(|key| key.split_once(' '));
        let behind_prefix = key.and_then(|(_, route)| Self::behind_prefix(path, route));
        let before_prefix = path.strip_prefix(METADATA_PATH).filter(|behind| *behind == public_path);
        let metadata = before_prefix.map(|_| (Self::Metadata, None));
        Self::at(path).or(behind_stage).or(behind_prefix).or(metadata)
    }

    /// The last segment of a path to the portal whose final slash is missing: that of a stage or of a base path. The page's
    /// links would lead nowhere there.
    pub(super) fn portal_without_slash(event: &ApiGatewayV2httpRequest) -> Option<&str> {
        let path = event.raw_path.as_deref()?;
        let (_, segment) = path.rsplit_once('/').filter(|(_, segment)| !segment.is_empty())?;
        let stage = event.request_context.stage.as_deref().filter(|stage| *stage != "$default");
        let is_stage = stage.is_some_and(|stage| path.strip_prefix('/') == Some(stage));
        let is_base = event.route_key.as_deref().is_some_and(|key| key.ends_with(" /"));
        (is_stage || is_base).then_some(segment)
    }

    /// The route at the end of `path`, if it is the one that the gateway names.
    fn behind_prefix<'a>(path: &'a str, named: &str) -> Option<(Self, Option<&'a str>)> {
        let last = named.matches('/').count().checked_sub(1)?;
        let (start, _) = path.rmatch_indices('/').nth(last)?;
        Self::at(path.get(start..)?).filter(|(route, _)| route.path() == named)
    }

    /// The route at exactly this path. Nothing is decoded or normalized.
    fn at(path: &str) -> Option<(Self, Option<&str>)> {
        Self::ALL.into_iter().find_map(|route| match route.path().split_once('{') {
            None => (path == route.path()).then_some((route, None)),
            Some((before, _)) => {
                let named = path.strip_prefix(before)?;
                (!named.is_empty() && !named.contains('/')).then_some((route, Some(named)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(path: &str, key: &str, stage: &str) -> ApiGatewayV2httpRequest {
        let http = json!({"method": "GET", "path": path});
        serde_json::from_value(json!({
            "rawPath": path,
            "routeKey": key,
            "headers": {},
            "requestContext": {"http": http, "stage": stage},
            "isBase64Encoded": false,
        }))
        .unwrap()
    }

    #[test]
    fn a_path_is_a_route_only_as_it_stands() {
        for (path, at) in [
            ("/v1/credentials", Some((Route::Credentials, None))),
            ("/v1/credentials/deploy", Some((Route::CredentialsOfGrant, Some("deploy")))),
            ("/v1/credentials/v1", Some((Route::CredentialsOfGrant, Some("v1")))),
            ("/v1/credentials/%64eploy", Some((Route::CredentialsOfGrant, Some("%64eploy")))),
            ("/v1/credentials/{grant}", Some((Route::CredentialsOfGrant, Some("{grant}")))),
            ("/v1/console", Some((Route::Console, None))),
            ("/v1/grants", Some((Route::Grants, None))),
            ("/v1/health", Some((Route::Health, None))),
            ("/.well-known/oauth-protected-resource", Some((Route::Metadata, None))),
            ("/.well-known/oauth-protected-resource/", None),
            ("/.well-known/oauth-protected-resource/x", None),
            ("/.well-known", None),
            ("/", Some((Route::Portal, None))),
            ("/portal/style.css", Some((Route::PortalFile, Some("style.css")))),
            ("/portal/%2e%2e", Some((Route::PortalFile, Some("%2e%2e")))),
            ("", None),
            ("//", None),
            ("/portal", None),
            ("/portal/", None),
            ("/portal/a/b", None),
            ("/Portal/style.css", None),
            ("/index.html", None),
            ("/v1/credentials/", None),
            ("/v1/credentials//", None),
            ("/v1/credentials/deploy/", None),
            ("/v1/credentials/deploy/x", None),
            ("/v1/credentials/../health", None),
            ("/v1/credentialsdeploy", None),
            ("/v1/grants/deploy", None),
            ("/v1/console/", None),
            ("/v1/console/deploy", None),
            ("/v1/Health", None),
            ("v1/health", None),
        ] {
            assert_eq!(Route::at(path), at, "{path}");
        }
    }

    #[test]
    fn the_metadata_is_found_before_the_path_of_the_functions_own_url_and_before_no_other() {
        let at = |path: &str, public_path: &str| {
            Route::of(&event(path, "$default", "$default"), public_path).map(|(route, _)| route)
        };
        for (path, public_path) in [("", ""), ("/x", "/x"), ("/x/y", "/x/y"), ("", "/x")] {
            assert_eq!(at(&format!("{METADATA_PATH}{path}"), public_path), Some(Route::Metadata), "{path}");
        }
        for (path, public_path) in [("/x", ""), ("/x/", "/x"), ("/x/y", "/x"), ("/y", "/x"), ("x", "/x"), ("/", "")] {
            assert_eq!(at(&format!("{METADATA_PATH}{path}"), public_path), None, "{path}");
        }
    }

    #[test]
    fn a_portal_without_its_final_slash_is_that_of_a_stage_or_of_a_base_path() {
        let named = |path: &str, key: &str, stage: &str| {
            Route::portal_without_slash(&event(path, key, stage)).map(str::to_owned)
        };
        assert_eq!(named("/prod", "$default", "prod").as_deref(), Some("prod"));
        assert_eq!(named("/tools/hallpass", "GET /", "$default").as_deref(), Some("hallpass"));
        for (path, key, stage) in [
            ("/prod", "$default", "$default"),
            ("/prod/", "$default", "prod"),
            ("/prod/x", "$default", "prod"),
            ("prod", "$default", "prod"),
            ("/hallpass", "GET /v1", "$default"),
            ("/hallpass/", "GET /", "$default"),
            ("/$default", "$default", "$default"),
            ("", "GET /", ""),
            ("/", "GET /", ""),
        ] {
            assert_eq!(named(path, key, stage), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_prefix_is_no_part_of_the_path(
            prefix in "(/(v1|credentials|grants|portal|\\.well-known|[a-z]{1,3})){0,4}",
            segment in "[a-z%.]{1,8}",
            route in prop::sample::select(&Route::ALL),
        ) {
            let path = route.path().replace("{grant}", &segment).replace("{file}", &segment);
            let named = route.path().contains('{').then_some(segment.as_str());
            let mapped = event(&format!("{prefix}{path}"), &format!("GET {}", route.path()), "$default");
            prop_assert_eq!(Route::of(&mapped, ""), Some((route, named)));
            let stage = prefix.strip_prefix('/').unwrap_or("$default");
            let staged = event(&format!("{prefix}{path}"), "$default", stage);
            prop_assert_eq!(Route::of(&staged, ""), Some((route, named)));
        }

        #[test]
        fn all_readings_of_a_path_agree(
            path in "(/(v1|credentials|grants|health|x|portal|\\.well-known|oauth-protected-resource)?){0,6}",
            key in "GET (/(v1|credentials|grants|health|x|portal|\\{file\\}|\\{grant\\}|\\.well-known|oauth-protected-resource)?){0,4}",
            stage in "(v1|credentials|v1/credentials|portal|x)",
        ) {
            let event = event(&path, &key, &stage);
            let staged = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage.as_str())).and_then(Route::at);
            let mapped = Route::behind_prefix(&path, key.trim_start_matches("GET "));
            for reading in [Route::at(&path), staged, mapped].into_iter().flatten() {
                prop_assert_eq!(Route::of(&event, ""), Some(reading));
            }
        }
    }
}
