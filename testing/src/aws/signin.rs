//! What does AWS's sign-in host give for a session?
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_enable-console-custom-url.html>

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::server::{Call, Handle, Reply, Server};

/// The token of every sign-in. It has what has to be encoded in an address.
pub const SIGN_IN_TOKEN: &str = "sign-in-token/CANARY+KEY==";

/// A sign-in host: it takes sessions by POST, and no wish for their duration.
#[derive(Debug)]
pub struct SignIn {
    pub server: Server,
}

struct Federation;

impl SignIn {
    /// Listens on a free loopback port.
    pub async fn start() -> Self {
        Self { server: Server::start(Federation).await }
    }

    /// The sessions that were brought so far.
    pub fn sessions(&self) -> Vec<Value> {
        let forms = self.server.calls().into_iter().map(|call| call.form());
        forms.map(|form| serde_json::from_str(&form["Session"]).unwrap()).collect()
    }
}

impl Handle for Federation {
    async fn answer(&self, call: Call) -> Reply {
        let form: BTreeMap<String, String> = call.form();
        let fields: Vec<&str> = form.keys().map(String::as_str).collect();
        let is_asked = (call.method.as_str(), call.path.as_str()) == ("POST", "/federation");
        let is_form = call.header("content-type") == Some("application/x-www-form-urlencoded");
        if is_asked && is_form && fields == ["Action", "Session"] && form["Action"] == "getSigninToken" {
            Reply::new(200, "application/json", json!({ "SigninToken": SIGN_IN_TOKEN }).to_string())
        } else {
            Reply::new(400, "text/html", "<h1>Bad request</h1>")
        }
    }
}
