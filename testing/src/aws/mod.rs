//! What of AWS do tests run against?
//!
//! One fake of each service, with the service's own rules: a test asks for what reaches the wire, and no client of ours
//! can tell the difference.

pub mod account;
pub mod cloudformation;
pub mod dynamodb;
pub mod iam;
pub mod logs;
pub mod policy;
pub mod query;
pub mod secretsmanager;
pub mod signin;
pub mod sigv4;
pub mod sts;
