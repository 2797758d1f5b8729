//! What does a valid request rest on?
//!
//! Everything around the function, set up so that carol gets her credentials. A test breaks one thing.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::aws::account::Account;
use super::aws::dynamodb::{self, DynamoDb};
use super::aws::secretsmanager::SECRET;
use super::aws::signin::SignIn;
use super::clock;
use super::events::Event;
use super::function::Function;
use super::provider::Provider;
use super::server::Server;
use super::signer::{TestKey, valid_claims};

/// The origin that browsers may call from.
pub const ORIGIN: &str = "https://console.example.com";

/// The broker key that the secret holds.
pub const BROKER_KEY: &str = "AKIABROKERONEEXAMPLE";

/// The secret half of [`BROKER_KEY`].
pub const BROKER_SECRET: &str = "broker-secret-one/EXAMPLE+KEY0000000000000";

/// The key of the function's own role.
pub const FUNCTION_KEY: &str = "ASIAFUNCTIONSEXAMPLE";

/// The secret half of [`FUNCTION_KEY`].
pub const FUNCTION_SECRET: &str = "function-secret/EXAMPLE+KEY000000000000000";

/// The session token of the function's own role.
pub const FUNCTION_SESSION_TOKEN: &str = "function-session-token/EXAMPLE";

/// Everything around the function.
#[derive(Debug)]
pub struct World {
    pub key: TestKey,
    pub provider: Provider,
    /// The account, where STS is asked.
    pub sts: Account,
    pub dynamodb: DynamoDb,
    /// The same account, where Secrets Manager is asked.
    pub secrets: Account,
    /// Where one signs in to AWS's console. The function asks there only for those who want that.
    pub sign_in: SignIn,
    environment: BTreeMap<String, String>,
}

impl World {
    pub async fn new() -> Self {
        let key = TestKey::p256("key-1");
        let provider = Provider::start(&[&key]).await;
        let (sts, dynamodb) = (Account::start().await, DynamoDb::start().await);
        let (secrets, sign_in) = (sts.endpoint().await, SignIn::start().await);
        secrets.hold_key(BROKER_KEY, BROKER_SECRET);
        dynamodb.grant("corp/user/carol", "default", &json!({ "policy": policy(&["s3:ListBucket"]) }));
        let mut world = Self { key, provider, sts, dynamodb, secrets, sign_in, environment: BTreeMap::new() };
        world.set_environment();
        world
    }

    fn set_environment(&mut self) {
        let issuers = json!([self.issuer()]).to_string();
        for (name, value) in [
            ("HALLPASS_ISSUERS", issuers.as_str()),
            ("SSL_CERT_FILE", crate::CERTIFICATES),
            ("HALLPASS_TABLE", dynamodb::GRANTS),
            ("HALLPASS_STATE", dynamodb::STATE),
            ("HALLPASS_BROKER_KEY", SECRET),
            ("HALLPASS_ALLOWED_ORIGINS", ORIGIN),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", FUNCTION_KEY),
            ("AWS_SECRET_ACCESS_KEY", FUNCTION_SECRET),
            ("AWS_SESSION_TOKEN", FUNCTION_SESSION_TOKEN),
            ("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb.server.url()),
            ("AWS_ENDPOINT_URL_STS", &self.sts.server.url()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.secrets.server.url()),
            ("AWS_ENDPOINT_URL_SIGNIN", &self.sign_in.server.url()),
            ("AWS_LAMBDA_FUNCTION_NAME", "hallpass-broker"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/hallpass-broker"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/22/[$LATEST]00000000000000000000000000000000"),
        ] {
            self.environment.insert(name.to_owned(), value.to_owned());
        }
    }

    /// The configuration of the one issuer.
    pub fn issuer(&self) -> Value {
        json!({"id": "corp", "issuer": self.provider.issuer(), "audiences": ["hallpass"]})
    }

    /// Configures the one issuer with these members changed.
    pub fn trust_with(&mut self, terms: &Value) {
        let mut issuer = self.issuer();
        issuer.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
        self.trust(&[issuer]);
    }

    /// Configures these issuers.
    pub fn trust(&mut self, issuers: &[Value]) {
        self.set("HALLPASS_ISSUERS", &json!(issuers).to_string());
    }

    /// Sets one variable of the function's environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Removes one variable of the function's environment.
    pub fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// The services that the function calls for credentials, by name.
    pub fn upstreams(&self) -> [(&'static str, &Server); 4] {
        [
            ("provider", &self.provider.server),
            ("dynamodb", &self.dynamodb.server),
            ("secrets manager", &self.secrets.server),
            ("sts", &self.sts.server),
        ]
    }

    /// Spawns the function.
    pub async fn spawn(&self) -> Function {
        self.spawn_build(&crate::binary("broker")).await
    }

    /// Spawns another build of the function.
    pub async fn spawn_build(&self, program: &Path) -> Function {
        Function::spawn(program, &self.environment).await
    }

    /// Spawns the function and waits until it asks for its first event.
    pub async fn start(&self) -> Function {
        let function = self.spawn().await;
        function.started().await;
        function
    }

    /// Carol's claims, valid now.
    pub fn claims(&self) -> Value {
        valid_claims(&self.provider.issuer(), clock::now())
    }

    /// Carol's claims with one changed.
    pub fn claims_with(&self, name: &str, value: impl Into<Value>) -> Value {
        let mut claims = self.claims();
        claims[name] = value.into();
        claims
    }

    /// Carol's token, valid now.
    pub fn token(&self) -> String {
        self.sign(&self.claims())
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        sign_with(&self.key, "ES256", claims)
    }

    /// Carol's request for the grant `default`.
    pub fn request(&self) -> Event {
        Event::get("/v1/credentials").bearer(&self.token())
    }

    /// The same request with other claims.
    pub fn request_with(&self, claims: &Value) -> Event {
        Event::get("/v1/credentials").bearer(&self.sign(claims))
    }
}

/// A token signed by any key, which its header names.
pub fn sign_with(key: &TestKey, alg: &str, claims: &Value) -> String {
    key.sign(&json!({"alg": alg, "typ": "JWT", "kid": key.kid()}), claims)
}

/// A session policy that allows these actions on everything.
pub fn policy(actions: &[&str]) -> Value {
    json!({"Version": "2012-10-17", "Statement": [statement(actions)]})
}

/// A statement that allows these actions on everything.
pub fn statement(actions: &[&str]) -> Value {
    json!({"Effect": "Allow", "Action": actions, "Resource": ["*"]})
}
