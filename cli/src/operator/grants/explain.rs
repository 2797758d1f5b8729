//! What would this caller get, and why?
//!
//! Everything is decided here as the function decides it, from the table or from files. A token is read, and not
//! verified: nothing is minted.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use data_encoding::BASE64URL_NOPAD;
use hallpass::grants::explain::{Explanation, ISSUED, Known, KnownItem, explain};
use hallpass::grants::file::Files;
use hallpass::grants::trial::SupposedCaller;
use hallpass::grants::{
    Asked, Circumstances, Context, Decided, Document, GrantName, Pending, Policies, Principal, Request, Session,
    Verdict, evaluate,
};
use hallpass::identity::{Caller, Issuer, put_claim, suppose};
use hallpass::net::aws::SdkConfig;
use hallpass::read::json;
use hallpass::read::rule::Severity;
use hallpass::session::{FederatedName, PolicyArn, SessionDuration};
use hallpass::time::from_rfc3339;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::inputs;
use super::lint::text::{line, plain};
use super::table::{Reader, Snapshot};
use crate::failure::Failure;
use crate::operator::stack::{Explained, Tables};
use crate::output::{Outcome, Output, note};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hallpass grants explain --stack hallpass --issuer corp --subject carol --group analysts\n  \
                        hallpass grants explain --stack hallpass --issuer corp --token-file token.jwt --grant deploy\n  \
                        hallpass grants explain --files grants/ --issuer corp --subject carol \\\n    \
                        --action s3:GetObject --resource arn:aws:s3:::acme-reports/q3.csv --absent aws:SourceVpc"
)]
pub(crate) struct Arguments {
    /// The id of the caller's issuer; can be left out if the claims have an `iss` of one that is known
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
    /// The caller's subject
    #[arg(long, value_name = "SUBJECT", conflicts_with_all = ["claims", "token_file"])]
    subject: Option<String>,
    /// A group of the caller; can be repeated
    #[arg(long = "group", value_name = "GROUP", requires = "subject")]
    groups: Vec<String>,
    /// One more claim, by its JSON pointer; can be repeated
    #[arg(long = "claim", value_name = "POINTER=JSON")]
    more_claims: Vec<String>,
    /// All claims, as a JSON object in a file
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    claims: Option<PathBuf>,
    /// A token in a file, or - for standard input; it is read, not verified
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The value of `HALLPASS_ISSUERS` in a file [default: the stack's; else subject and groups are /sub and /groups]
    #[arg(long, value_name = "FILE")]
    issuers: Option<PathBuf>,
    /// The grant to ask for
    #[arg(long, value_name = "GRANT", default_value = "default")]
    grant: String,
    /// The seconds to ask for
    #[arg(long, value_name = "SECONDS")]
    duration: Option<i64>,
    /// The address that the request comes from
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,
    /// When, as RFC 3339 or as seconds since the epoch [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<SystemTime>,
    /// Read grant files, and not the table
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with_all = ["stack", "grants_table", "state_table"])]
    files: Vec<PathBuf>,
    /// Also say whether the session may do this, such as s3:GetObject
    #[arg(long, requires = "resource")]
    action: Option<String>,
    /// On this resource: an ARN, or * for actions without one
    #[arg(long, requires = "action")]
    resource: Option<String>,
    /// The value of a condition key; a key that is given twice has two values
    #[arg(long, value_name = "KEY=VALUE", requires = "action")]
    context: Vec<String>,
    /// A condition key that the request does not have; can be repeated
    #[arg(long, value_name = "KEY", requires = "action")]
    absent: Vec<String>,
    /// A policy of the broker user in a file; can be repeated [default: the stack's]
    #[arg(long, value_name = "FILE", requires = "action")]
    ceiling: Vec<PathBuf>,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

fn time(text: &str) -> Result<SystemTime, &'static str> {
    let seconds = text.parse().ok().or_else(|| from_rfc3339(text)).and_then(|seconds| u64::try_from(seconds).ok());
    let time = seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    time.ok_or("must be a time of RFC 3339, such as 2026-11-22T12:00:00Z, or seconds since the epoch")
}

/// Where the answer comes from.
struct Sources {
    sdk: Option<SdkConfig>,
    stack: Explained,
    known: Known,
}

/// The answer, as programs read it.
#[derive(Debug, Serialize)]
struct Told {
    code: &'static str,
    reason: String,
    items: Vec<Value>,
    limits: Vec<Value>,
    lacks: Value,
    session: Option<Value>,
    decision: Option<Value>,
}

impl Arguments {
    /// Explains.
    pub(crate) async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        let now = self.at.unwrap_or(now);
        let asked = self.asked()?;
        let context = self.context()?;
        let claims = self.claims()?;
        let mut sources = self.sources().await?;
        let issuer = self.issuer(&sources.stack, claims.as_ref())?;
        let told = match self.caller(&issuer, claims)? {
            Err(told) => told,
            Ok(caller) => match self.request() {
                Err(reason) => Told::refused("invalid_request", reason),
                Ok(request) => {
                    sources.known.name_owner = sources.name_owner(&caller).await?;
                    let Sources { sdk, stack, known } = sources;
                    let explanation = explain(&caller, &request, known, now);
                    // The gateway always says where a request comes from.
                    if explanation.reason() == "no_source_address" {
                        let text = "the grant is pinned to the caller's address; say which with --from";
                        return Err(Failure::Usage(text.into()));
                    }
                    let session = explanation.outcome.as_ref().ok().map(Pending::describe);
                    let decided = match (session, &asked) {
                        (Some(session), Some(asked)) => {
                            let ceiling = self.ceiling(sdk.as_ref(), &stack).await?;
                            let account = stack.account.as_ref();
                            let known = self.context_of(session, account, &context, now);
                            let policies = Policies::of_session(session, &[]);
                            let policies =
                                policies.map_err(|problems| Failure::new(format!("the session policy: {problems}")))?;
                            Some(evaluate(&policies, ceiling.as_ref(), asked, &known))
                        }
                        _ => None,
                    };
                    Told::of(&explanation, decided.as_ref())
                }
            },
        };
        self.output.print(&told, || told.text())?;
        Ok(Outcome::Done)
    }

    fn asked(&self) -> Result<Option<Asked>, Failure> {
        let (Some(action), Some(resource)) = (&self.action, &self.resource) else { return Ok(None) };
        Asked::new(action, resource).map(Some).map_err(|error| Failure::Usage(error.to_string()))
    }

    /// The condition keys that were given, each with its values.
    fn context(&self) -> Result<Vec<(String, Vec<String>)>, Failure> {
        let mut context: Vec<(String, Vec<String>)> = Vec::new();
        for pair in &self.context {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| Failure::Usage(format!("--context wants KEY=VALUE, not `{}`", plain(pair))))?;
            match context.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(key)) {
                Some((_, values)) => values.push(value.to_owned()),
                None => context.push((key.to_owned(), vec![value.to_owned()])),
            }
        }
        Ok(context)
    }

    /// The claims, if they were given as a whole.
    fn claims(&self) -> Result<Option<Map<String, Value>>, Failure> {
        let mut claims = match (&self.claims, &self.token_file) {
            (Some(path), _) => inputs::object(path)?,
            (None, Some(path)) => {
                let claims = claims_of_token(inputs::text(path)?.trim())?;
                note("the token is read, not verified");
                claims
            }
            (None, None) => return Ok(None),
        };
        self.add_claims(&mut claims)?;
        Ok(Some(claims))
    }

    fn add_claims(&self, claims: &mut Map<String, Value>) -> Result<(), Failure> {
        for pair in &self.more_claims {
            let wrong = || {
                Failure::Usage(format!("--claim wants POINTER=JSON, such as /email='\"a@b\"', not `{}`", plain(pair)))
            };
            let (pointer, text) = pair.split_once('=').ok_or_else(wrong)?;
            let value = json::parse(text.as_bytes()).map_err(|_| wrong())?;
            put_claim(claims, pointer, value).ok_or_else(wrong)?;
        }
        Ok(())
    }

    async fn sources(&self) -> Result<Sources, Failure> {
        if self.files.is_empty() {
            let (sdk, stack) = self.tables.explained().await?;
            let snapshot = Reader::new(&sdk, &stack.grants).snapshot().await?;
            return Ok(Sources { sdk: Some(sdk), stack, known: known(&snapshot) });
        }
        let files = Files::read(&self.files);
        let errors = files.findings().iter().filter(|finding| finding.severity() == Severity::Error);
        errors.for_each(|finding| note(&line(finding)));
        if files.is_unreadable() {
            return Err(Failure::new("not every path can be read"));
        }
        match files.into_documents() {
            Ok(documents) => Ok(Sources { sdk: None, stack: Explained::default(), known: inputs::known(&documents) }),
            Err(_) => Err(Failure::Forbidden("there are errors in the files; nothing can be explained".into())),
        }
    }

    /// The issuer that is meant: by its id, or by the `iss` of the claims.
    fn issuer(&self, stack: &Explained, claims: Option<&Map<String, Value>>) -> Result<Issuer, Failure> {
        let configured = match (&self.issuers, &stack.issuers) {
            (Some(path), _) => Some(inputs::issuers_of_file(path)?),
            (None, Some(text)) => Some(inputs::issuers_of_stack(text)?),
            (None, None) => None,
        };
        let url = claims.and_then(|claims| claims.get("iss")).and_then(Value::as_str);
        match (configured, &self.issuer) {
            (Some(issuers), Some(id)) => {
                let ids = issuers.iter().map(|issuer| issuer.id().as_str().to_owned()).collect::<Vec<_>>().join(", ");
                let found = issuers.into_iter().find(|issuer| issuer.id().as_str() == id);
                found.ok_or_else(|| Failure::Usage(format!("there is no issuer `{}`; there are: {ids}", plain(id))))
            }
            (Some(issuers), None) => {
                let found = issuers.into_iter().find(|issuer| Some(issuer.url()) == url);
                found.ok_or_else(|| Failure::Usage("which issuer? Use --issuer ID".into()))
            }
            (None, Some(id)) => inputs::plain_issuer(id),
            (None, None) => Err(Failure::Usage("which issuer? Use --issuer ID".into())),
        }
    }

    /// The caller, or what the API would answer to such a token.
    fn caller(&self, issuer: &Issuer, claims: Option<Map<String, Value>>) -> Result<Result<Caller, Told>, Failure> {
        let claims = match (claims, &self.subject) {
            (Some(claims), _) => claims,
            (None, Some(subject)) => {
                let groups = Some(self.groups.clone()).filter(|groups| !groups.is_empty());
                let (issuer_id, subject) = (issuer.id().as_str().to_owned(), subject.clone());
                let supposed = SupposedCaller { issuer: issuer_id, subject, groups, claims: Map::new() };
                let mut claims = supposed.claims_for(issuer).map_err(Failure::Usage)?;
                self.add_claims(&mut claims)?;
                claims
            }
            (None, None) => {
                return Err(Failure::Usage("who asks? Use --subject, --claims or --token-file".into()));
            }
        };
        Ok(suppose(issuer, claims).map_err(|error| Told::refused(error.code().as_str(), error.reason())))
    }

    fn request(&self) -> Result<Request, &'static str> {
        let grant = GrantName::new(&self.grant).ok_or("parameters_invalid")?;
        let duration = match self.duration {
            Some(seconds) => Some(SessionDuration::from_secs(seconds).ok_or("parameters_invalid")?),
            None => None,
        };
        Ok(Request { grant, duration, source_ip: self.from })
    }

    async fn ceiling(&self, sdk: Option<&SdkConfig>, stack: &Explained) -> Result<Option<Policies>, Failure> {
        if !self.ceiling.is_empty() {
            return inputs::ceiling(&self.ceiling).map(Some);
        }
        if let (Some(sdk), Some(user)) = (sdk, &stack.user) {
            return ceiling_of(sdk, user).await.map(Some);
        }
        note("the ceiling is not looked at: use --ceiling with the policies of the broker user, or --stack");
        Ok(None)
    }

    /// What is known of the request that is asked about.
    fn context_of(
        &self,
        session: &Session,
        account: Option<&(String, String)>,
        more: &[(String, Vec<String>)],
        now: SystemTime,
    ) -> Context {
        let mut context = Context::of(&Circumstances {
            source_ip: self.from,
            now,
            partition: account.map_or("aws", |(partition, _)| partition),
            account: account.map(|(_, account)| account.as_str()),
            name: session.name().as_str(),
            tags: session.tags(),
        });
        for (key, values) in more {
            context.set(key, values.clone());
        }
        for key in &self.absent {
            context.set_absent(key);
        }
        context
    }
}

/// The body of a JWT (RFC 7519), as it stands. A message has only the kind of a mistake, since a token is a secret.
fn claims_of_token(token: &str) -> Result<Map<String, Value>, Failure> {
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let body = token.split('.').nth(1).and_then(|body| BASE64URL_NOPAD.decode(body.as_bytes()).ok());
    let claims = body.and_then(|body| json::parse_object(&body).ok());
    claims.ok_or_else(|| Failure::new("the token is not a JWT"))
}

/// All items that a request could mean. A key that the function never reads is nobody's.
fn known(snapshot: &Snapshot) -> Known {
    let item = |(key, stored): (&super::table::Key, &super::table::Stored)| {
        let principal = Principal::parse(&key.principal)?;
        Some(KnownItem { principal, grant: key.grant.clone(), attributes: stored.attributes.clone() })
    };
    Known {
        blocked: snapshot.blocks.iter().filter_map(|block| Principal::parse(&block.principal)).collect(),
        items: snapshot.items.iter().filter_map(item).collect(),
        name_owner: None,
    }
}

impl Sources {
    /// Who owns the caller's name, if it comes from a claim. Where that cannot be looked up, it is supposed to be the
    /// caller's.
    async fn name_owner(&self, caller: &Caller) -> Result<Option<String>, Failure> {
        let (Some(_), Ok(name)) = (caller.name_rule(), FederatedName::of(caller)) else { return Ok(None) };
        let (Some(sdk), Some(table)) = (&self.sdk, &self.stack.state) else {
            note("the owner of the federated name is not looked up: it is supposed to be the caller's");
            return Ok(Some(Principal::user(caller).as_str().to_owned()));
        };
        super::table::name_owner(sdk, table, &name.folded()).await
    }
}

/// The policies of the broker user: the managed ones, and those that are written into it.
async fn ceiling_of(sdk: &SdkConfig, user: &str) -> Result<Policies, Failure> {
    let iam = aws_sdk_iam::Client::new(sdk);
    let what = |what: &str| format!("{what} of `{user}`");
    let mut documents = Vec::new();
    let mut add = |name: &str, encoded: &str| {
        // IAM answers with the document as a URL has it (RFC 3986).
        let text = percent_decode_str(encoded).decode_utf8_lossy().into_owned();
        let document: Value = json::parse(text.as_bytes()).unwrap_or_default();
        let parsed = Document::parse(name, &document);
        documents
            .push(parsed.map_err(|problems| Failure::new(format!("the policy `{name}` of `{user}`: {problems}")))?);
        Ok::<(), Failure>(())
    };
    let mut marker = None;
    loop {
        let page = iam.list_attached_user_policies().user_name(user).set_marker(marker).send().await;
        let page = page.map_err(Failure::to(what("list the managed policies"), "iam:ListAttachedUserPolicies"))?;
        for arn in page.attached_policies().iter().filter_map(|policy| policy.policy_arn()) {
            let policy = iam.get_policy().policy_arn(arn).send().await;
            let policy = policy.map_err(Failure::to(format!("read the policy `{arn}`"), "iam:GetPolicy"))?;
            let version = policy.policy.and_then(|policy| policy.default_version_id).unwrap_or_default();
            let version = iam.get_policy_version().policy_arn(arn).version_id(version).send().await;
            let version = version.map_err(Failure::to(format!("read the policy `{arn}`"), "iam:GetPolicyVersion"))?;
            add(arn, version.policy_version().and_then(|version| version.document()).unwrap_or_default())?;
        }
        marker = page.marker.filter(|_| page.is_truncated);
        if marker.is_none() {
            break;
        }
    }
    loop {
        let page = iam.list_user_policies().user_name(user).set_marker(marker).send().await;
        let page = page.map_err(Failure::to(what("list the policies"), "iam:ListUserPolicies"))?;
        for name in &page.policy_names {
            let policy = iam.get_user_policy().user_name(user).policy_name(name).send().await;
            let policy = policy.map_err(Failure::to(what("read a policy"), "iam:GetUserPolicy"))?;
            add(name, &policy.policy_document)?;
        }
        marker = page.marker.filter(|_| page.is_truncated);
        if marker.is_none() {
            break;
        }
    }
    Ok(Policies::new(documents))
}

impl Told {
    fn refused(code: &'static str, reason: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            items: Vec::new(),
            limits: Vec::new(),
            lacks: json!({}),
            session: None,
            decision: None,
        }
    }

    fn of(explanation: &Explanation, decided: Option<&Decided>) -> Self {
        let items = explanation.items.iter().map(|item| {
            json!({
                "principal": item.principal.as_str(),
                "grant": item.grant,
                "revision": item.revision,
                "used": item.used,
                "why": item.why,
            })
        });
        let limits = explanation
            .limits
            .iter()
            .map(|limit| json!({"name": limit.name, "value": limit.value, "principal": limit.principal.as_str()}));
        let lacks = &explanation.lacks;
        let mut missing = Map::new();
        for (name, values) in [("acr_values", &lacks.acr_values), ("amr_values", &lacks.amr_values)] {
            if !values.is_empty() {
                missing.insert(name.into(), json!(values));
            }
        }
        if let Some(max_age) = lacks.max_age {
            missing.insert("max_age".into(), max_age.into());
        }
        let detail = explanation.outcome.as_ref().err().map(ToString::to_string);
        let reason = match detail {
            Some(detail) => format!("{}: {detail}", explanation.reason()),
            None => explanation.reason().to_owned(),
        };
        Self {
            code: explanation.code(),
            reason,
            items: items.collect(),
            limits: limits.collect(),
            lacks: missing.into(),
            session: explanation.outcome.as_ref().ok().map(|pending| session(pending.describe())),
            decision: decided.map(decision),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("code      {}", self.code)];
        if self.code != ISSUED {
            lines.push(format!("reason    {}", plain(&self.reason)));
        }
        for (name, value) in self.lacks.as_object().into_iter().flatten() {
            lines.push(format!("lacks     {name}: {value}"));
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let Some(session) = &self.session {
            lines.push(format!("name      {}", text(&session["name"])));
            lines.push(format!("duration  {} s", session["duration"]));
            for arn in session["policy_arns"].as_array().into_iter().flatten() {
                lines.push(format!("managed   {}", text(arn)));
            }
            for (key, value) in session["tags"].as_object().into_iter().flatten() {
                lines.push(format!("tag       {}={}", plain(key), plain(&text(value))));
            }
            lines.push(format!("policy    {} of 2048 characters", session["characters"]));
            if !session["policy"].is_null() {
                lines.push(serde_json::to_string_pretty(&session["policy"]).unwrap_or_default());
            }
        }
        for limit in &self.limits {
            let (name, value, principal) = (text(&limit["name"]), text(&limit["value"]), text(&limit["principal"]));
            lines.push(plain(&format!("limit     {name}: {value}, by {principal}")));
        }
        for item in &self.items {
            let used = if item["used"] == true { "used" } else { "not used" };
            let revision = item["revision"].as_str().map(|revision| format!(" {revision}")).unwrap_or_default();
            let (principal, grant, why) = (text(&item["principal"]), text(&item["grant"]), text(&item["why"]));
            lines.push(plain(&format!("item      {principal} {grant}{revision}: {used}; {why}")));
        }
        if let Some(decision) = &self.decision {
            lines.push(format!("decision  {}", text(&decision["result"])));
            for (name, pointer) in [("session", "/by/session"), ("ceiling", "/by/ceiling")] {
                let by = decision
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .map(|by| format!(", by {by}"))
                    .unwrap_or_default();
                let verdict = if decision[name].is_null() { "not looked at".into() } else { text(&decision[name]) };
                lines.push(plain(&format!("  {name}: {verdict}{by}")));
            }
            let missing: Vec<String> = decision["missing"].as_array().into_iter().flatten().map(text).collect();
            if !missing.is_empty() {
                lines.push(plain(&format!("  not known: {}; use --context or --absent", missing.join(", "))));
            }
        }
        lines.join("\n")
    }
}

fn session(session: &Session) -> Value {
    let text = session.policy().map_or("", |policy| policy.as_str());
    json!({
        "name": session.name().as_str(),
        "duration": session.duration().as_secs(),
        "policy": json::parse(text.as_bytes()).ok(),
        "policy_arns": session.policy_arns().iter().map(PolicyArn::as_str).collect::<Vec<_>>(),
        "tags": session.tags().iter().map(|(key, value)| (key.to_owned(), value.into())).collect::<Map<String, Value>>(),
        "characters": text.chars().count(),
    })
}

fn decision(decided: &Decided) -> Value {
    let by = |verdict: &Verdict| verdict.by().map(ToString::to_string);
    let Decided { session, ceiling, result } = decided;
    json!({
        "session": session.decision().as_str(),
        "ceiling": ceiling.as_ref().map(|ceiling| ceiling.decision().as_str()),
        "result": result.decision().as_str(),
        "by": {"session": by(session), "ceiling": ceiling.as_ref().and_then(by)},
        "missing": result.missing(),
    })
}
