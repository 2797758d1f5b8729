//! Is a deployment right, from outside and from inside?
//!
//! Nothing is written, and no token or secret is printed. What is refused, and the one session that a token gets, leave
//! audit lines as every request does.

mod cors;
mod inside;
mod opens;
mod outside;
mod refusals;
mod report;
mod session;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args};
use hallpass::grants::GrantName;
use hyper::header::HeaderValue;
use secrecy::SecretString;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use self::inside::Inside;
use self::opens::Opens;
use self::outside::Outside;
use self::report::Report;
use self::session::Holder;
use super::grants::text as read_text;
use super::stack::Account;
use crate::failure::Failure;
use crate::output::{Outcome, Output};
use crate::outside::server::ServerUrl;
use crate::outside::web::Web;
use crate::outside::world::World;

/// For the whole of a probe, so that a schedule never has two of them at once. A healthy one takes some seconds.
const LIMIT: Duration = Duration::from_mins(2);

/// Check that a deployment works and refuses what it should, from outside and, with a stack, from inside
///
/// It writes nothing, asks nobody, and ends within two minutes. With a token it takes one session of 15 minutes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hallpass probe --stack hallpass\n  hallpass probe --url https://hallpass.example.com \
                  --origin https://app.example.com\n  hallpass probe --stack hallpass --token-file token.jwt \
                  --opens s3:ListBucket arn:aws:s3:::acme-reports\n\nExit code 3: something is wrong"
)]
pub(crate) struct Probe {
    /// The URL of the deployment [default: the stack's]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The stack's name; without it, only the outside is checked
    #[arg(long, env = "HALLPASS_STACK", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    stack: Option<String>,
    /// A token in a file, or - for standard input: a session is asked for with it, and refusals are tried with it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The grant to ask for with the token
    #[arg(long, value_name = "GRANT", default_value = "default", value_parser = grant_name)]
    grant: GrantName,
    /// What the session must be able to do; can be repeated. ACTION is dynamodb:DescribeTable, s3:GetObject,
    /// s3:ListBucket or sts:GetCallerIdentity, RESOURCE an ARN, or * for the last one
    #[arg(long, value_names = ["ACTION", "RESOURCE"], num_args = 2, action = ArgAction::Append, requires = "token_file")]
    opens: Vec<String>,
    /// An origin that web pages may call from; can be repeated [default: the stack's]
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    origin: Vec<HeaderValue>,
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    output: Output,
}

fn grant_name(text: &str) -> Result<GrantName, &'static str> {
    GrantName::new(text).ok_or("a grant has 1 to 64 of a-z 0-9 . _ -")
}

fn origin(text: &str) -> Result<HeaderValue, &'static str> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| !scheme.is_empty() && is_host(host));
    let value = HeaderValue::from_str(text).ok().filter(|_| is_origin);
    value.ok_or("an origin is a scheme and a host, such as https://app.example.com")
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !"/?#@\\,".contains(c))
}

impl Probe {
    /// Probes.
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let now = Instant::now();
        let deadline = now.checked_add(LIMIT).unwrap_or(now);
        let opens = self.opens.chunks(2).map(Opens::parse).collect::<Result<Vec<_>, _>>()?;
        let given = self.url.as_deref().map(ServerUrl::parse).transpose()?;
        if given.is_none() && self.stack.is_none() {
            return Err(Failure::Usage("which deployment? Use --url, or --stack or HALLPASS_STACK".into()));
        }
        let token = self.token()?;
        let mut inside = None;
        if let Some(name) = &self.stack {
            let found = timeout_at(deadline, Inside::find(name, &self.account)).await;
            let late = |_| Failure::new(format!("the stack `{name}` was not found within {} seconds", LIMIT.as_secs()));
            inside = Some(found.map_err(late)??);
        }
        let server = match (given, &inside) {
            (Some(server), _) => server,
            (None, Some(inside)) => ServerUrl::parse(&inside.url()?)?,
            (None, None) => return Err(Failure::Usage("which deployment? Use --url".into())),
        };
        let mut report = Report::default();
        let looking = Box::pin(self.look(world, &server, inside.as_ref(), token.as_ref(), &opens, &mut report));
        if timeout_at(deadline, looking).await.is_err() {
            let text = format!(
                "the probe did not end within {} seconds: what would come next was not checked",
                LIMIT.as_secs()
            );
            report.problem("time", text, "run it again; if it stays, something above answers too slowly");
        }
        let results = json!({"ok": report.is_well(), "checks": report.checks()});
        self.output.print(&results, || report.text())?;
        Ok(if report.is_well() { Outcome::Done } else { Outcome::Problems })
    }

    /// First what everybody sees, then what the operator does, then what the token's holder does: a failure there often
    /// has its reason before.
    async fn look(
        &self,
        world: &World,
        server: &ServerUrl,
        inside: Option<&Inside>,
        token: Option<&SecretString>,
        opens: &[Opens],
        report: &mut Report,
    ) {
        let web = Web::new(world);
        let outside = Outside { web: &web, server, now: world.seconds() };
        let found = outside.look(inside, &self.origin, report).await;
        match inside {
            Some(inside) => inside.look(server, world.now(), report).await,
            None => {
                for check in ["stack", "tables", "recovery", "expiry", "alarms", "broker-key", "grants"] {
                    report.skipped(check, "only with a stack: use --stack");
                }
            }
        }
        match (token, found.untrusted) {
            (Some(token), None) => {
                let holder = Holder { outside: &outside, token, grant: &self.grant, world, account: &self.account };
                holder.look(opens, report).await;
            }
            (_, untrusted) => {
                let see = untrusted.filter(|_| token.is_some()).map(|check| format!("see `{check}`"));
                let why = see.as_deref().unwrap_or("only with a token: use --token-file");
                for check in ["refuses-changed-signature", "refuses-other-grant", "credentials", "opens"] {
                    report.skipped(check, why);
                }
            }
        }
    }

    fn token(&self) -> Result<Option<SecretString>, Failure> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let text = read_text(path)?;
        let text = text.trim();
        // What else a file may hold is not sent anywhere.
        if text.split('.').count() == 3 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Some(SecretString::from(text)));
        }
        Err(Failure::new(format!("{}: is not a token (three parts with dots between them)", path.display())))
    }
}
