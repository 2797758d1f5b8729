//! Can a session do what it is for?
//!
//! The real service is asked, with the session, by calls that read and change nothing.

use std::fmt;

use aws_credential_types::Credentials as Session;
use aws_sdk_sts::config::Region;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4::SigningParams;
use hallpass::net::aws::SdkConfig;
use hallpass::wire::Credentials;
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::report::Report;
use crate::failure::Failure;
use crate::operator::whois::is_account;
use crate::outside::secret::expose;
use crate::outside::web::{Answer, Question, Web};
use crate::outside::world::World;

/// What is not encoded in the path of an object.
const OBJECT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// Where S3 says in which region a bucket is.
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// An action on a resource that can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opens {
    CallerIdentity,
    Table { arn: String, region: String, account: String, name: String },
    Bucket { name: String },
    Object { bucket: String, key: String },
}

impl Opens {
    /// Takes an action and its resource.
    pub(super) fn parse(pair: &[String]) -> Result<Self, Failure> {
        let [action, resource] = pair else { return Err(Failure::Usage("--opens wants ACTION RESOURCE".into())) };
        let found = match action.to_ascii_lowercase().as_str() {
            "sts:getcalleridentity" => (resource == "*").then_some(Self::CallerIdentity),
            "dynamodb:describetable" => table(resource),
            "s3:listbucket" => bucket(resource).map(|name| Self::Bucket { name }),
            "s3:getobject" => object(resource),
            _ => {
                let text = "--opens can try dynamodb:DescribeTable, s3:GetObject, s3:ListBucket and \
                            sts:GetCallerIdentity; `hallpass grants explain` says about any other action";
                return Err(Failure::Usage(text.into()));
            }
        };
        let help = match action.to_ascii_lowercase().as_str() {
            "sts:getcalleridentity" => "*",
            "dynamodb:describetable" => "an ARN such as arn:aws:dynamodb:eu-central-1:111122223333:table/orders",
            "s3:listbucket" => "an ARN such as arn:aws:s3:::acme-reports",
            _ => "an ARN such as arn:aws:s3:::acme-reports/2026/q3.csv, without wildcards",
        };
        found.ok_or_else(|| Failure::Usage(format!("the resource of --opens {action} must be {help}")))
    }

    /// Tries it.
    pub(super) async fn check(
        &self,
        credentials: &Credentials,
        sdk: &SdkConfig,
        web: &Web,
        world: &World,
        report: &mut Report,
    ) {
        const HELP: &str = "`hallpass grants explain` with --action and --resource says which statement decides";
        let session = Session::new(
            &credentials.access_key_id,
            expose(&credentials.secret_access_key),
            Some(expose(&credentials.session_token).to_owned()),
            None,
            "hallpass",
        );
        // The partition of the account says which endpoints there are.
        let partition = credentials.federated_user.arn.split(':').nth(1).unwrap_or("aws");
        let home = match partition {
            "aws-cn" => "cn-north-1",
            "aws-us-gov" => "us-gov-west-1",
            _ => "us-east-1",
        };
        let region = sdk.region().map_or(home, AsRef::as_ref);
        let tried = match self {
            Self::CallerIdentity => {
                let config = aws_sdk_sts::config::Builder::from(sdk);
                let config = config.credentials_provider(session).region(Region::new(region.to_owned()));
                let asked = aws_sdk_sts::Client::from_conf(config.build()).get_caller_identity().send().await;
                asked
                    .map(drop)
                    .map_err(|error| Failure::to(self.to_string(), "sts:GetCallerIdentity")(error).to_string())
            }
            Self::Table { arn, region, account, name } => {
                // A name alone is the name of a table in the session's own account.
                let name = if *account == credentials.account_id { name } else { arn };
                let config = aws_sdk_dynamodb::config::Builder::from(sdk);
                let config = config.credentials_provider(session).region(Region::new(region.clone()));
                let asked = aws_sdk_dynamodb::Client::from_conf(config.build()).describe_table().table_name(name);
                let asked = asked.send().await;
                asked
                    .map(drop)
                    .map_err(|error| Failure::to(self.to_string(), "dynamodb:DescribeTable")(error).to_string())
            }
            Self::Bucket { .. } | Self::Object { .. } => {
                let s3 = S3 { session: &session, sdk, web, world, partition };
                s3.head(&self.path(), region).await.map_err(|why| format!("cannot {self}: {why}"))
            }
        };
        match tried {
            Ok(()) => report.ok("opens", format!("the session can {self}")),
            Err(why) => report.problem("opens", why, HELP),
        }
    }

    fn path(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, OBJECT).to_string();
        match self {
            Self::Bucket { name } => format!("/{}", encoded(name)),
            Self::Object { bucket, key } => format!("/{}/{}", encoded(bucket), encoded(key)),
            Self::CallerIdentity | Self::Table { .. } => String::new(),
        }
    }
}

impl fmt::Display for Opens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallerIdentity => f.write_str("say who it is"),
            Self::Table { name, .. } => write!(f, "describe the table `{name}`"),
            Self::Bucket { name } => write!(f, "list the bucket `{name}`"),
            Self::Object { bucket, key } => write!(f, "read `{key}` in the bucket `{bucket}`"),
        }
    }
}

fn table(arn: &str) -> Option<Opens> {
    let mut parts = arn.strip_prefix("arn:")?.splitn(5, ':').skip(1);
    let (service, region, account, table) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let name = table.strip_prefix("table/")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let is_region = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_table = service == "dynamodb" && is_name && is_region && is_account(account);
    is_table.then(|| Opens::Table {
        arn: arn.to_owned(),
        region: region.to_owned(),
        account: account.to_owned(),
        name: name.to_owned(),
    })
}

fn bucket(arn: &str) -> Option<String> {
    let name = in_s3(arn)?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    (is_name && !name.starts_with('.')).then(|| name.to_owned())
}

fn object(arn: &str) -> Option<Opens> {
    let (name, key) = in_s3(arn)?.split_once('/')?;
    // A URL would lose the segments `.` and `..`.
    let is_key = !key.is_empty()
        && !key.contains(['*', '?'])
        && key.chars().all(|c| !c.is_control())
        && !key.split('/').any(|segment| matches!(segment, "." | ".."));
    let (before, _) = arn.split_once('/')?;
    let bucket = bucket(before)?;
    (is_key && bucket == name).then(|| Opens::Object { bucket, key: key.to_owned() })
}

fn in_s3(arn: &str) -> Option<&str> {
    let (partition, rest) = arn.strip_prefix("arn:")?.split_once(':')?;
    partition.starts_with("aws").then_some(rest)?.strip_prefix("s3:::")
}

/// S3, without an SDK of its own: a `HEAD` says whether one may, and transfers nothing.
struct S3<'a> {
    session: &'a Session,
    sdk: &'a SdkConfig,
    web: &'a Web,
    world: &'a World,
    partition: &'a str,
}

impl S3<'_> {
    async fn head(&self, path: &str, region: &str) -> Result<(), String> {
        let mut answer = self.ask(path, region).await?;
        let its_region = answer.header(BUCKET_REGION).map(str::to_owned);
        // A bucket is asked in its own region. S3 says which that is; where it is said is not followed.
        if let Some(its_region) = its_region.filter(|its| answer.status >= 300 && its != region && is_region(its)) {
            answer = self.ask(path, &its_region).await?;
        }
        match answer.status {
            200..300 => Ok(()),
            403 => Err("S3 refused (status 403)".into()),
            404 => Err("it does not exist (status 404)".into()),
            status => Err(format!("S3 answered with status {status}")),
        }
    }

    async fn ask(&self, path: &str, region: &str) -> Result<Answer, String> {
        let text = format!("{}{path}", self.endpoint(region));
        let url = Url::parse(&text).map_err(|_| "the endpoint of S3 is not a URL".to_owned())?;
        let headers = self.signed(url.as_str(), region).ok_or("the request cannot be signed")?;
        let question =
            headers.into_iter().fold(Question::head(&url), |question, (name, value)| question.header(name, value));
        self.web.ask(question).await.map_err(|trouble| trouble.to_string())
    }

    /// As for every tool of AWS, a variable or the profile may name another one.
    fn endpoint(&self, region: &str) -> String {
        let named = self.world.variable("AWS_ENDPOINT_URL_S3").or_else(|| self.world.variable("AWS_ENDPOINT_URL"));
        let named = named.or_else(|| self.sdk.endpoint_url());
        let suffix = if self.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        named.map_or_else(|| format!("https://s3.{region}.{suffix}"), |url| url.trim_end_matches('/').to_owned())
    }

    fn signed(&self, url: &str, region: &str) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let identity = self.session.clone().into();
        let mut settings = SigningSettings::default();
        // S3's own way (Signature Version 4, "Create a canonical request").
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = SigningParams::builder().identity(&identity).region(region).name("s3");
        let parameters = parameters.time(self.world.now()).settings(settings).build().ok()?.into();
        let request = SignableRequest::new("HEAD", url, std::iter::empty(), SignableBody::Bytes(&[])).ok()?;
        let (headers, _) = sign(request, &parameters).ok()?.into_parts().0.into_parts();
        let headers = headers.into_iter().map(|header| {
            let mut value = HeaderValue::from_str(header.value()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(header.name().as_bytes()).ok()?, value))
        });
        headers.collect()
    }
}

fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
