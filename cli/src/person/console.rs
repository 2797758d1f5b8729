//! How does a person get to AWS's console?
//!
//! With the credentials of a grant, which AWS's sign-in host trades for an address. No route of the server is needed.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_enable-console-custom-url.html>

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;

use hallpass::credentials::console::{self, Partition, SignInToken};
use hallpass::net::url::quoted_url;
use hallpass::wire::Credentials;

use super::World;
use super::access::{Target, Wanted};
use super::desk::{Desk, Person, patience};
use super::peer::is_ours;
use super::secret::{expose, random_text, same};
use super::signin::{Browser, How};
use super::trouble::{Trouble, shown};
use super::web::{Question, host_of};
use crate::failure::Failure;
use crate::output::{Outcome, note, print};

/// Replaces the sign-in host, for tests.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_SIGNIN";
/// A browser that was started asks within this time.
const BROWSER_LIMIT: Duration = Duration::from_mins(1);

/// Open AWS's console in the browser.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: hallpass console --grant deploy --service s3")]
pub(crate) struct Console {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    target: Target,
    /// The console of this service, such as s3 [default: the home page]
    #[arg(long, value_name = "S", value_parser = label)]
    service: Option<String>,
    /// The page to open, on the console's hosts
    #[arg(long, value_name = "URL", conflicts_with = "service")]
    destination: Option<String>,
    /// The region [env: `AWS_REGION`, `AWS_DEFAULT_REGION`]
    #[arg(long, value_parser = label)]
    region: Option<String>,
    /// Print the address instead of opening it. It lets anyone in for 15 minutes
    #[arg(long)]
    print: bool,
    /// Open this browser; `%s`, or the end, is the address [env: `HALLPASS_BROWSER`, BROWSER]
    #[arg(long, value_name = "CMD")]
    browser: Option<String>,
    /// Fail instead of signing in [env: `HALLPASS_NO_LOGIN`]
    #[arg(long)]
    no_login: bool,
}

fn label(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(is_legal) {
        Ok(text.to_owned())
    } else {
        Err("it has 1 to 64 of a-z 0-9 -".into())
    }
}

/// The console in the partition that an ARN names.
fn console_of(arn: &str, world: &World) -> Result<(Partition, console::Console), Trouble> {
    let partition = Partition::of_arn(arn).ok_or_else(|| {
        let name = arn.split(':').nth(1).unwrap_or_default();
        Trouble::failed(format!("the partition `{}` has no console that is known", shown(name)))
    })?;
    let console = console::Console::new(partition, world.variable(ENDPOINT));
    Ok((partition, console.map_err(|must| Trouble::Usage(format!("{ENDPOINT} {must}")))?))
}

impl Console {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let desk = Desk::open(world)?;
        let server = desk.server(&self.target)?;
        let person = Person::new(&desk, How::default(), self.no_login)?;
        let browser = if self.print { None } else { Browser::choose(self.browser.as_deref(), world)? };
        let asked = async |session: &_| desk.credentials(session, &self.wanted, patience()).await;
        let credentials = person.acting(&server, &self.target, asked).await?.credentials;
        let (partition, console) = console_of(&credentials.federated_user.arn, world)?;
        let page = self.page(world, partition)?;
        let token = sign_in_token(&desk, console.federation(), &credentials).await?;
        let address = console.address(server.as_str(), &page, &token);
        if let Some(browser) = browser {
            open(&browser, &address).await?;
            return Ok(Outcome::Done);
        }
        if !self.print {
            note("No browser is opened here. This address lets anyone in for 15 minutes:");
        }
        print(expose(&address))?;
        Ok(Outcome::Done)
    }

    /// The page of the console to open.
    fn page(&self, world: &World, partition: Partition) -> Result<Url, Trouble> {
        let text = if let Some(page) = &self.destination {
            page.clone()
        } else {
            let region = self
                .region
                .as_deref()
                .or_else(|| world.variable("AWS_REGION"))
                .or_else(|| world.variable("AWS_DEFAULT_REGION"));
            let region =
                region.map(label).transpose().map_err(|why| Trouble::Usage(format!("the region is not one: {why}")))?;
            partition.service(self.service.as_deref().unwrap_or("console"), region.as_deref())
        };
        partition.page(&text).ok_or_else(|| {
            let console = partition.console();
            Trouble::Usage(format!("{} is not a page of https://{console}", shown(&quoted_url(&text))))
        })
    }
}

async fn sign_in_token(desk: &Desk, federation: &Url, credentials: &Credentials) -> Result<SignInToken, Trouble> {
    let form =
        console::question(&credentials.access_key_id, &credentials.secret_access_key, &credentials.session_token);
    let answer = desk.web.ask(Question::form(federation, &form)).await?;
    let (host, status) = (host_of(federation), answer.status);
    if status != 200 {
        let text = format!("{host} answered with status {status} instead of a sign-in");
        return Err(if status >= 500 || status == 429 { Trouble::Unavailable(text) } else { Trouble::Failed(text) });
    }
    SignInToken::read(answer.body()).ok_or_else(|| Trouble::failed(format!("the answer of {host} has no sign-in")))
}

/// Opens the address without naming it in the browser's arguments, which every user of the machine can read: the browser
/// gets a page of this machine's, which leads there, once.
async fn open(browser: &Browser, address: &SecretString) -> Result<(), Trouble> {
    let failed =
        |error: std::io::Error| Trouble::failed(format!("cannot listen on this machine: {error}; use --print"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let host = listener.local_addr().map_err(failed)?.to_string();
    let path = format!("/{}", random_text()?);
    let started = browser.open(&format!("http://{host}{path}"));
    let _child = started.ok_or_else(|| Trouble::failed("the browser cannot be started; use --print"))?;
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::select! {
        () = lead_once(&listener, &host, &path, address, &sender) => {}
        _ = receiver.recv() => tokio::time::sleep(Duration::from_millis(200)).await,
        () = tokio::time::sleep(BROWSER_LIMIT) => return Err(Trouble::failed("the browser did not ask for the page; use --print")),
    }
    Ok(())
}

/// Leads who asks for the path to the address, the first time. Does not end.
async fn lead_once(listener: &TcpListener, host: &str, path: &str, address: &SecretString, sender: &mpsc::Sender<()>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: the next attempt may find one.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Another user can read the browser's arguments, and must not be first.
        if !is_ours(&stream) {
            continue;
        }
        let (host, path, address, sender) = (host.to_owned(), path.to_owned(), address.clone(), sender.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let is_here = request.headers().get(header::HOST).is_some_and(|value| value.as_bytes() == host.as_bytes());
            let is_meant = is_here && same(request.uri().path(), &path);
            let is_first = is_meant && sender.try_send(()).is_ok();
            let answer = lead(is_first.then_some(&address));
            async move { Ok::<_, Infallible>(answer) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(5)).keep_alive(false);
        tokio::spawn(async move {
            // How a connection ends is the browser's business.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn lead(to: Option<&SecretString>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let location = to.and_then(|to| header::HeaderValue::from_str(expose(to)).ok());
    *response.status_mut() = if location.is_some() { StatusCode::SEE_OTHER } else { StatusCode::NOT_FOUND };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    if let Some(location) = location {
        headers.insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Parsed {
        #[command(flatten)]
        console: Console,
    }

    fn page(arguments: &[&str], variables: &[(&str, &str)], arn: &str) -> Result<String, Trouble> {
        let parsed = <Parsed as clap::Parser>::try_parse_from([&["x"], arguments].concat()).unwrap();
        parsed.console.page(&World::of(variables), Partition::of_arn(arn).unwrap()).map(String::from)
    }

    const ARN: &str = "arn:aws:sts::111122223333:federated-user/carol";

    #[test]
    fn a_partition_without_a_console_is_named() {
        for (arn, name) in [("arn:aws-iso:sts::1:x", "`aws-iso`"), ("arn:evil:sts::1:x", "`evil`"), ("", "``")] {
            let trouble = console_of(arn, &World::of(&[])).map(drop).unwrap_err();
            assert!(matches!(&trouble, Trouble::Failed(text) if text.contains(name)), "{trouble:?}");
        }
    }

    #[test]
    fn a_page_is_the_home_or_a_services_in_the_region_that_is_known() {
        let region = [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "us-east-1")];
        assert_eq!(page(&[], &[], ARN).unwrap(), "https://console.aws.amazon.com/console/home");
        assert_eq!(
            page(&["--service", "s3"], &region, ARN).unwrap(),
            "https://console.aws.amazon.com/s3/home?region=eu-west-1"
        );
        assert_eq!(
            page(&[], &region[1..], ARN).unwrap(),
            "https://console.aws.amazon.com/console/home?region=us-east-1"
        );
        assert!(page(&["--region", "eu-central-1"], &region, ARN).unwrap().ends_with("?region=eu-central-1"));
        assert!(page(&[], &[("AWS_REGION", "x&y=z")], ARN).is_err());
    }

    #[test]
    fn a_destination_leaves_no_console() {
        for good in ["https://console.aws.amazon.com/s3", "https://eu-west-1.console.aws.amazon.com/x?y#z"] {
            assert_eq!(page(&["--destination", good], &[], ARN).unwrap(), good);
        }
        for bad in [
            "http://console.aws.amazon.com/",
            "https://evil.example.com/",
            "https://console.aws.amazon.com.evil.example.com/",
            "https://evilconsole.aws.amazon.com/",
            "https://a:b@console.aws.amazon.com/",
            "https://console.aws.amazon.com:8443/",
            "https://console.amazonaws.cn/",
            "javascript:alert(1)",
            "x",
        ] {
            assert!(matches!(page(&["--destination", bad], &[], ARN), Err(Trouble::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_may_stand_in_for_the_sign_in_host_without_tls() {
        let at = |url: &str| console_of(ARN, &World::of(&[(ENDPOINT, url)])).map(|(_, console)| console);
        assert_eq!(at("http://127.0.0.1:1/").unwrap().federation().as_str(), "http://127.0.0.1:1/federation");
        assert!(matches!(at("http://signin.example.com"), Err(Trouble::Usage(_))));
    }
}
