//! How does a function start, and what may it log, whatever `RUST_LOG` says?

use std::io;
use std::process::ExitCode;
use std::str::FromStr;

use lambda_http::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::net::aws::{SdkConfig, Settings};
use crate::net::https::Https;
use crate::read::problems::{Problems, both};

/// Our own crates: the library and its binaries.
const OURS: [&str; 3] = ["hallpass", "broker", "rotator"];

/// The body of a function's `main`: reads the variables that `environment` holds, and runs until the runtime ends.
///
/// All problems of the configuration are logged, one a line, and then nothing runs.
pub async fn start<C>(
    environment: fn(&str) -> Option<String>,
    read: impl FnOnce(fn(&str) -> Option<String>) -> Result<C, Problems>,
    run: impl AsyncFnOnce(C, SdkConfig, Https) -> Result<(), Error>,
) -> ExitCode {
    log_to_stderr(environment("RUST_LOG").as_deref());
    let settings = both(Settings::from_lookup(environment), Https::from_lookup(environment));
    let ran = match both(read(environment), settings) {
        Ok((config, (settings, https))) => run(config, settings.over(&https), https).await,
        Err(problems) => {
            for problem in problems.iter() {
                tracing::error!(%problem, "the configuration is wrong");
            }
            Err(problems.into())
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped");
            ExitCode::FAILURE
        }
    }
}

/// Logs as JSON, at the level that is asked for, in the form of `RUST_LOG`. Only our own modules go below `INFO`: the
/// runtime logs whole events at `TRACE`, the SDKs whole requests, and both hold tokens and secrets.
fn log_to_stderr(asked: Option<&str>) {
    let asked = asked.and_then(|text| Targets::from_str(text).ok());
    let asked = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let default = asked.default_level().unwrap_or(LevelFilter::ERROR);
    let ours = |target: &str| OURS.contains(&target.split("::").next().unwrap_or_default());
    let capped = asked.into_iter().map(|(target, level)| {
        let level = if ours(&target) { level } else { level.min(LevelFilter::INFO) };
        (target, level)
    });
    let targets = Targets::new()
        .with_default(default.min(LevelFilter::INFO))
        .with_targets(OURS.map(|ours| (ours, default)))
        .with_targets(capped.collect::<Vec<_>>());
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
}
