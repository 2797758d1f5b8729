//! What does the function cost, with everything around it on loopback?
//!
//! `cargo bench --bench measure` measures the release build that Cargo makes for it. That one has the features that
//! the development dependencies switch on: `HALLPASS_BENCH_BROKER=PATH` names the artifact that would be deployed.
//!
//! | number | how |
//! | --- | --- |
//! | spawn to first poll | 20 starts with upstreams at hand: median and 90th percentile |
//! | CPU time per request | user and system time of the process over 10,000 requests, against a bare `lambda_http` function that answers the same events with an empty 200 |
//! | resident memory | before the first and after the last of them |
//! | latency | 200 requests each for 1, 20, 100 and 200 groups, against upstreams that take 5 and 30 ms: median and 99th percentile |

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement reads the clock, prints, stops at the first surprise, and needs not all of the tests' support"
)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lambda_http::{Body, Error, Request, Response, service_fn};
use serde_json::json;

use hallpass_testing::events::Event;
use hallpass_testing::function::Function;
use hallpass_testing::server::Fault;
use hallpass_testing::signer::TestKey;
use hallpass_testing::world::{World, sign_with};

/// How often the start is measured.
const STARTS: usize = 20;

/// Requests before anything is measured: pools and caches are filled.
const WARM_UP: usize = 200;

/// Requests whose CPU time is measured.
const REQUESTS: usize = 10_000;

/// Requests of each latency measurement.
const SAMPLES: usize = 200;

/// Linux counts a process's CPU time in ticks of which a second has these (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// Names another build of the function to measure.
const BROKER: &str = "HALLPASS_BENCH_BROKER";

/// Makes this program the bare function instead of the measurement.
const BARE: &str = "HALLPASS_BENCH_BARE";

fn main() -> Result<(), Error> {
    if env::var_os(BARE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(lambda_http::run(service_fn(bare)));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let size = fs::metadata(artifact())?.len();
        println!("size of the function       {:.2} MB", size as f64 / 1e6);
        starts().await;
        costs().await;
        latencies().await;
        Ok(())
    })
}

/// What the Lambda runtime costs by itself.
async fn bare(_: Request) -> Result<Response<Body>, Error> {
    Ok(Response::new(Body::Empty))
}

async fn starts() {
    let mut world = World::new().await;
    // Tests name a bundle of one authority; a deployed function reads the system's.
    world.unset("SSL_CERT_FILE");
    let mut broker = Vec::new();
    let mut bare = Vec::new();
    for _ in 0..STARTS {
        broker.push(world.spawn_build(&artifact()).await.started().await);
        bare.push(spawn_bare().await.started().await);
    }
    for (name, times) in [("broker", &mut broker), ("bare", &mut bare)] {
        let (median, p90) = (percentile(times, 50), percentile(times, 90));
        println!("spawn to first poll        {name:6}  median {median:?}  p90 {p90:?}  of {STARTS}");
    }
}

async fn costs() {
    let world = World::new().await;
    // RS256, which nearly every provider signs with.
    let key = TestKey::rsa("key-2");
    world.provider.publish(&[&world.key, &key]);
    let token = sign_with(&key, "RS256", &world.claims());
    let request = Event::get("/v1/credentials").bearer(&token).payload();
    let function = start(&world).await;
    let broker = cost("broker", &world, &function, &request).await;
    let function = spawn_bare().await;
    function.started().await;
    let bare = cost("bare", &world, &function, &request).await;
    println!("CPU time per request       broker − bare = {:.3} ms", (broker - bare) * 1e3);
}

/// Seconds of CPU time that one request costs.
async fn cost(name: &str, world: &World, function: &Function, request: &str) -> f64 {
    let started = resident_kib(function);
    let ask = async |times: usize| {
        for _ in 0..times {
            assert_eq!(function.call_raw(request.to_owned()).await.status, 200);
        }
        for (_, server) in world.upstreams() {
            server.forget_calls();
        }
        function.runtime.server.forget_calls();
    };
    ask(WARM_UP).await;
    let before = cpu_seconds(function);
    for _ in 0..REQUESTS / WARM_UP {
        ask(WARM_UP).await;
    }
    let seconds = (cpu_seconds(function) - before) / REQUESTS as f64;
    let ended = resident_kib(function);
    println!("CPU time per request       {name:6}  {:.3} ms over {REQUESTS}", seconds * 1e3);
    println!(
        "resident memory            {name:6}  {started} KiB at the first poll, {ended} KiB after {REQUESTS} requests"
    );
    seconds
}

async fn latencies() {
    for delay in [5, 30].map(Duration::from_millis) {
        for groups in [1, 20, 100, 200] {
            let world = World::new().await;
            world.dynamodb.server.fail_always(&Fault::Slow(delay));
            world.sts.server.fail_always(&Fault::Slow(delay));
            let function = start(&world).await;
            let groups: Vec<String> = (0..groups).map(|number| format!("group-{number:03}")).collect();
            let request = world.request_with(&world.claims_with("groups", json!(groups))).payload();
            let mut times = Vec::new();
            for round in 0..SAMPLES + 10 {
                let answer = function.call_raw(request.clone()).await;
                assert_eq!(answer.status, 200);
                // The first ones open the connections that many groups need.
                if round >= 10 {
                    times.push(answer.took);
                }
            }
            let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
            let groups = groups.len();
            println!(
                "latency                    upstreams {delay:?}  {groups:3} groups  p50 {p50:?}  p99 {p99:?}  of {SAMPLES}"
            );
        }
    }
}

fn artifact() -> PathBuf {
    env::var_os(BROKER).unwrap_or_else(|| env!("CARGO_BIN_EXE_broker").into()).into()
}

async fn start(world: &World) -> Function {
    let function = world.spawn_build(&artifact()).await;
    function.started().await;
    function
}

async fn spawn_bare() -> Function {
    let environment: BTreeMap<String, String> = [
        (BARE, "1"),
        ("AWS_LAMBDA_FUNCTION_NAME", "bare"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "bare"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "bare"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    Function::spawn(&env::current_exe().unwrap(), &environment).await
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent).div_ceil(100) - 1]
}

/// User and system time so far, from fields 14 and 15 of `/proc/PID/stat` (proc(5)).
fn cpu_seconds(function: &Function) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", function.process_id())).unwrap();
    // The second field is the name in parentheses, which may hold spaces.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u32 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / TICKS
}

fn resident_kib(function: &Function) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", function.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
