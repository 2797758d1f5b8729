//! How is the real function run?
//!
//! As a child process between a Lambda Runtime API and the services that [`super::world`] set up.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::answer::Answer;
use super::events::Event;
use super::runtime_api::{Outcome, RuntimeApi};

/// More than any answer or start may take; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running function.
#[derive(Debug)]
pub struct Function {
    pub runtime: RuntimeApi,
    child: Child,
    output: Vec<JoinHandle<Vec<u8>>>,
    spawned: Instant,
}

/// A function that has ended, and all that it ever wrote.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub log: String,
}

impl Function {
    /// Runs a function with this environment and no other.
    pub async fn spawn(program: &Path, environment: &BTreeMap<String, String>) -> Self {
        let runtime = RuntimeApi::start().await;
        let spawned = Instant::now();
        let mut child = Command::new(program)
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", runtime.server.address())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = vec![drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap())];
        Self { runtime, child, output, spawned }
    }

    /// Waits for the first poll, and says how long after the spawn it came.
    pub async fn started(&self) -> Duration {
        let polled = tokio::time::timeout(PATIENCE, self.runtime.first_poll()).await;
        polled.expect("a first poll").duration_since(self.spawned)
    }

    /// Sends one request and waits for the answer.
    pub async fn call(&self, event: Event) -> Answer {
        self.call_raw(event.payload()).await
    }

    /// Sends any event and waits for the answer.
    pub async fn call_raw(&self, payload: String) -> Answer {
        let asked = Instant::now();
        let outcome = tokio::time::timeout(PATIENCE, self.runtime.invoke(payload)).await;
        Answer::from_outcome(outcome.expect("an answer"), asked.elapsed())
    }

    /// Sends any event to a function that answers no HTTP, and waits for the outcome.
    pub async fn invoke(&self, event: &Value) -> Outcome {
        let patience = PATIENCE + self.runtime.time_limit();
        tokio::time::timeout(patience, self.runtime.invoke(event.to_string())).await.expect("an outcome")
    }

    /// Sends the function a signal, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.process_id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// The process id of the running function.
    pub fn process_id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Ends the function and returns all that it wrote.
    pub async fn end(mut self) -> Ended {
        self.child.start_kill().unwrap();
        self.ended().await
    }

    /// Waits until the function ends by itself.
    pub async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("an end").unwrap();
        let mut log = String::new();
        for stream in self.output {
            log.push_str(&String::from_utf8_lossy(&stream.await.unwrap()));
        }
        Ended { status, log }
    }
}

impl Ended {
    /// The lines that are JSON objects.
    pub fn records(&self) -> Vec<Value> {
        let lines = self.log.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(Value::is_object).collect()
    }

    /// The audit lines of one event, such as `outcome`.
    pub fn audit(&self, event: &str) -> Vec<Value> {
        let mut records = self.records();
        records.retain(|record| record["event"] == event);
        records
    }
}

fn drain(mut stream: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let mut written = Vec::new();
        stream.read_to_end(&mut written).await.unwrap();
        written
    })
}
