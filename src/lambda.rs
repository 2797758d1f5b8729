//! What do the functions have in common when they start?

use std::io;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::net::aws::{SdkConfig, Settings};
use crate::net::https::Https;
use crate::read::problems::{Problems, both};

/// Our own crates: the library and its binaries.
const OURS: [&str; 3] = ["hallpass", "broker", "rotator"];

/// Logs as JSON, at the level that is asked for, in the form of `RUST_LOG`. Only our own modules go below `INFO`: the
/// runtime logs whole events at `TRACE`, the SDKs whole requests, and both hold tokens and secrets.
pub fn log_to_stderr(asked: Option<&str>) {
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

/// A function's own configuration, what the SDKs need beside it, and how servers are reached.
///
/// # Errors
/// All [`Problems`] of the three, each of them logged.
pub fn with_connections<C>(
    config: Result<C, Problems>,
    lookup: impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static,
) -> Result<(C, SdkConfig, Https), Problems> {
    let https = Https::from_lookup(&lookup);
    let all = both(both(config, Settings::from_lookup(lookup)), https).inspect_err(|problems| {
        for problem in problems.iter() {
            tracing::error!(problem, "the configuration is wrong");
        }
    });
    all.map(|((config, settings), https)| (config, settings.over(&https), https))
}
