//! How would one try to fool the verifier, and which tokens are nevertheless good?
//!
//! Each case is one mutation of a token that is accepted, named by what was done to it. The verifier's own tests run
//! them as they are, the tests of the whole function send them through the front door.

use std::collections::BTreeMap;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Map, Value, json};

use super::signer::{TestKey, valid_claims};

/// A token that has to be refused.
#[derive(Debug)]
pub struct Forgery {
    /// What was done to a good token.
    pub what: String,
    /// The inner reason of the audit line.
    pub reason: &'static str,
    pub token: String,
}

/// A token that has to be accepted.
#[derive(Debug)]
pub struct Genuine {
    pub what: String,
    pub token: String,
}

/// The cases, and the issuers that they are about.
#[derive(Debug)]
pub struct Corpus {
    /// `HALLPASS_ISSUERS`: one for each set of terms and keys. All are trusted at once.
    pub issuers: Vec<Value>,
    /// By the last segment of the issuer's URL, which is its `id` too.
    pub key_sets: BTreeMap<&'static str, Value>,
    pub refused: Vec<Forgery>,
    pub accepted: Vec<Genuine>,
}

impl Corpus {
    /// The corpus for issuers below `base`. What is to be just within the leeway, or just outside, is so by `slack`
    /// more seconds, for those who are not done within one second.
    pub fn new(base: &str, now: u64, slack: u64) -> Self {
        Writer::new(base, now, slack).write()
    }
}

/// Seconds that the clocks may differ by.
const LEEWAY: u64 = 30;
const DAY: u64 = 86_400;
/// The longest token.
const LONGEST: usize = 10_000;

struct Writer {
    base: String,
    now: u64,
    slack: u64,
    /// The key that most issuers have, always as `k1`.
    key: TestKey,
    rsa: TestKey,
    p384: TestKey,
    ed25519: TestKey,
    corpus: Corpus,
}

impl Writer {
    fn new(base: &str, now: u64, slack: u64) -> Self {
        let corpus =
            Corpus { issuers: Vec::new(), key_sets: BTreeMap::new(), refused: Vec::new(), accepted: Vec::new() };
        Self {
            base: base.to_owned(),
            now,
            slack,
            key: TestKey::p256("k1"),
            rsa: TestKey::rsa("rsa"),
            p384: TestKey::p384("p384"),
            ed25519: TestKey::ed25519("ed25519"),
            corpus,
        }
    }

    fn write(mut self) -> Corpus {
        self.trust("corp", &json!({"audiences": ["hallpass", "other-name"]}), &[self.key.jwk()]);
        self.texts();
        self.json();
        self.issuers();
        self.algorithms();
        self.confused_algorithms();
        self.headers();
        self.key_ids();
        self.signatures();
        self.kinds();
        self.audiences();
        self.times();
        self.subjects();
        self.required_claims();
        self.groups();
        self.groups_in_text();
        self.indexed();
        self.genuine();
        self.corpus
    }

    fn trust(&mut self, id: &'static str, terms: &Value, keys: &[Value]) {
        let mut issuer = json!({"id": id, "issuer": self.issuer(id), "audiences": ["hallpass"]});
        issuer.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
        self.corpus.issuers.push(issuer);
        self.corpus.key_sets.insert(id, json!({ "keys": keys }));
    }

    fn issuer(&self, id: &str) -> String {
        format!("{}/{id}", self.base)
    }

    fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "JWT", "kid": self.key.kid()})
    }

    fn header_with(&self, name: &str, value: impl Into<Value>) -> Value {
        let mut header = self.header();
        header[name] = value.into();
        header
    }

    fn header_without(&self, name: &str) -> Value {
        let mut header = self.header();
        header.as_object_mut().unwrap().remove(name);
        header
    }

    fn claims(&self) -> Value {
        self.claims_of("corp")
    }

    fn claims_of(&self, id: &str) -> Value {
        valid_claims(&self.issuer(id), self.now)
    }

    fn claims_with(&self, name: &str, value: impl Into<Value>) -> Value {
        changed(self.claims(), &[(name, value.into())])
    }

    fn claims_without(&self, name: &str) -> Value {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    fn sign(&self, claims: &Value) -> String {
        self.key.sign(&self.header(), claims)
    }

    /// A token of the common key, whatever its header says.
    fn sign_raw(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.key.sign_bytes("ES256", header.as_ref(), claims.as_ref())
    }

    fn valid(&self) -> String {
        self.sign(&self.claims())
    }

    fn refused(&mut self, what: impl Into<String>, reason: &'static str, token: impl Into<String>) {
        self.corpus.refused.push(Forgery { what: what.into(), reason, token: token.into() });
    }

    /// A good token with one header member changed.
    fn refused_header(&mut self, what: impl Into<String>, reason: &'static str, header: &Value) {
        let token = self.sign_raw(header.to_string(), self.claims().to_string());
        self.refused(what, reason, token);
    }

    /// A good token with one claim changed.
    fn refused_claim(&mut self, name: &str, reason: &'static str, values: &[(&str, Value)]) {
        for (what, value) in values {
            let token = self.sign(&self.claims_with(name, value.clone()));
            self.refused(format!("`{name}` {what}"), reason, token);
        }
    }

    fn refused_without(&mut self, name: &str, reason: &'static str) {
        let token = self.sign(&self.claims_without(name));
        self.refused(format!("no `{name}`"), reason, token);
    }

    fn accepted(&mut self, what: impl Into<String>, token: impl Into<String>) {
        self.corpus.accepted.push(Genuine { what: what.into(), token: token.into() });
    }

    /// What is no compact JWS in canonical base64url.
    fn texts(&mut self) {
        let valid = self.valid();
        let [head, body, signature] = parts(&valid);
        self.refused("one byte more than 10,000", "token_too_long", self.of_length(LONGEST + 1));
        self.refused("two parts", "not_compact_jws", format!("{head}.{body}"));
        self.refused("four parts", "not_compact_jws", format!("{valid}."));
        self.refused("the five parts of a JWE", "not_compact_jws", format!("{valid}.e30.e30"));
        self.refused("JSON serialization", "not_compact_jws", {
            json!({"protected": head, "payload": body, "signature": signature}).to_string()
        });
        self.refused("padding", "not_base64url", format!("{head}.{body}.{signature}=="));
        self.refused("a character of plain base64", "not_base64url", format!("{head}.{body}.+{signature}"));
        self.refused("white space inside", "not_base64url", format!("{head}. {body}.{signature}"));
        self.refused("a tab behind", "not_base64url", format!("{valid}\t"));
        // `e30` is {}: of the last character two bits are spare, and set here.
        self.refused("spare bits of the header set", "not_base64url", format!("e31.{body}.{signature}"));
        self.refused("spare bits of the claims set", "not_base64url", {
            let claims = self.claims_of_remainder(2);
            let token = self.sign_raw(self.header().to_string(), claims);
            let [head, body, signature] = parts(&token);
            format!("{head}.{}.{signature}", respelled(&body))
        });
        self.refused("spare bits of the signature set", "not_base64url", {
            format!("{head}.{body}.{}", respelled(&signature))
        });
    }

    /// What is no JSON object of one meaning.
    fn json(&mut self) {
        let (header, claims) = (self.header().to_string(), self.claims().to_string());
        let with = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
        let deep = |levels: usize| format!(r#""x":{}{}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
        for (what, header) in [
            ("a header that is no JSON", "{".to_owned()),
            ("a header that is a list", "[]".to_owned()),
            ("a header after a byte order mark", format!("\u{feff}{header}")),
            ("a header of 65 levels", with(&header, &deep(65))),
            ("two `alg`", with(&header, r#""alg":"none""#)),
            ("two `alg`, one of them escaped", with(&header, r#""\u0061lg":"none""#)),
            ("two `kid`", with(&header, r#""kid":"k2""#)),
        ] {
            self.refused(what, "header_malformed", self.sign_raw(header, &claims));
        }
        for (what, claims) in [
            ("claims that are no JSON", "claims".to_owned()),
            ("claims that are a list", format!("[{claims}]")),
            ("claims twice", format!("{claims}{claims}")),
            ("a nested JWT", self.valid()),
            ("a byte order mark", format!("\u{feff}{claims}")),
            ("a NUL behind", format!("{claims}\0")),
            ("a NUL inside", with(&claims, "\0\"x\":1")),
            ("65 levels", with(&claims, &deep(65))),
            ("two `sub`", with(&claims, r#""sub":"mallory""#)),
            ("two `sub`, one of them escaped", with(&claims, r#""\u0073ub":"mallory""#)),
            ("two `aud`", with(&claims, r#""aud":"another""#)),
            ("two `groups`", with(&claims, r#""groups":["admins"]"#)),
            ("two members of one name further inside", with(&claims, r#""x":{"y":1,"y":2}"#)),
            ("half a surrogate pair", with(&claims, r#""x":"\ud800""#)),
            ("a number out of range", with(&claims, r#""x":1e999"#)),
        ] {
            self.refused(what, "claims_malformed", self.sign_raw(&header, claims));
        }
        let mut broken = with(&claims, r#""x":"?""#).into_bytes();
        let at = broken.iter().position(|byte| *byte == b'?').unwrap();
        broken[at] = 0xff;
        self.refused("invalid UTF-8", "claims_malformed", self.sign_raw(&header, broken));
        self.accepted("64 levels", self.sign_raw(&header, with(&claims, &deep(64))));
    }

    /// Who is not the issuer, however much it looks like one.
    fn issuers(&mut self) {
        let ours = self.issuer("corp");
        self.refused_without("iss", "issuer_missing");
        self.refused_claim(
            "iss",
            "issuer_missing",
            &[
                ("null", Value::Null),
                ("as a number", json!(7)),
                ("in a list", json!([ours])),
                ("in an object", json!({"url": ours})),
            ],
        );
        self.refused_claim(
            "iss",
            "issuer_unknown",
            &[
                ("of a stranger", json!("https://evil.example")),
                ("empty", json!("")),
                ("with a slash behind", json!(format!("{ours}/"))),
                ("with a space behind", json!(format!("{ours} "))),
                ("with a NUL behind", json!(format!("{ours}\u{0}"))),
                ("in another case", json!(ours.to_uppercase())),
                ("with a scheme in another case", json!(ours.replacen("http", "HTTP", 1))),
                ("with userinfo", json!(ours.replacen("://", "://carol@", 1))),
                ("with a dot behind the host", json!(ours.replacen("/corp", "./corp", 1))),
                ("with a Cyrillic letter", json!(ours.replacen("corp", "\u{441}orp", 1))),
                ("with a full-width letter", json!(ours.replacen("corp", "\u{ff43}orp", 1))),
                ("percent-encoded", json!(ours.replacen("corp", "%63orp", 1))),
                ("with a way back", json!(ours.replacen("corp", "x/../corp", 1))),
                ("with a query", json!(format!("{ours}?"))),
                ("with a fragment", json!(format!("{ours}#"))),
                ("that ours begins with", json!(self.base)),
            ],
        );
        let theirs = TestKey::p256(self.key.kid());
        let distinct = TestKey::p256("theirs");
        self.trust("partner", &json!({}), &[theirs.jwk(), distinct.jwk()]);
        let partner = self.claims_of("partner");
        let by = |key: &TestKey, claims: &Value| key.sign(&json!({"alg": "ES256", "kid": key.kid()}), claims);
        self.refused("a key of another issuer", "key_unknown", by(&distinct, &self.claims()));
        self.refused("a key of another issuer under the same `kid`", "signature_invalid", by(&theirs, &self.claims()));
        self.refused("our key for another issuer's token", "signature_invalid", by(&self.key, &partner));
        self.accepted("another issuer's own token", by(&theirs, &partner));
        self.accepted("another issuer's other key", by(&distinct, &partner));
    }

    /// `alg`, and what a forger would like it to mean.
    fn algorithms(&mut self) {
        self.refused_header("no `alg`", "algorithm_unsupported", &self.header_without("alg"));
        for (what, alg) in [
            ("in a list", json!(["ES256"])),
            ("null", Value::Null),
            ("as a number", json!(256)),
            ("empty", json!("")),
            ("in another case", json!("es256")),
            ("with a space behind", json!("ES256 ")),
            ("ES256K", json!("ES256K")),
            ("ES512", json!("ES512")),
            ("RSA1_5, of JWE", json!("RSA1_5")),
            ("dir, of JWE", json!("dir")),
        ] {
            self.refused_header(format!("`alg` {what}"), "algorithm_unsupported", &self.header_with("alg", alg));
        }
        for none in ["none", "None", "NONE", "nOnE", "none ", "\u{0}none"] {
            self.refused_header(format!("`alg` {none:?}"), "algorithm_unsupported", &self.header_with("alg", none));
            let unsigned = self.key.sign_bytes(
                "none",
                self.header_with("alg", none).to_string().as_bytes(),
                self.claims().to_string().as_bytes(),
            );
            self.refused(format!("`alg` {none:?} and no signature"), "algorithm_unsupported", unsigned);
        }
        for alg in ["PS256", "RS384", "ES384", "EdDSA"] {
            self.refused_header(
                format!("{alg}, which is not this issuer's"),
                "algorithm_not_allowed",
                &self.header_with("alg", alg),
            );
        }
    }

    /// What fits neither the key nor the signature.
    fn confused_algorithms(&mut self) {
        let every = json!(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]);
        let keys = [&self.key, &self.rsa, &self.p384, &self.ed25519].map(TestKey::jwk);
        self.trust("every", &json!({ "algorithms": every }), &keys);
        let claims = self.claims_of("every");
        let jwk = self.rsa.jwk();
        let pem = |label: &str, der: &[u8]| {
            let lines: Vec<String> = BASE64
                .encode(der)
                .as_bytes()
                .chunks(64)
                .map(|line| String::from_utf8(line.to_vec()).unwrap())
                .collect();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
        };
        let spki = self.rsa.public_der();
        let pem = pem("PUBLIC KEY", &spki);
        for alg in ["HS256", "HS384", "HS512"] {
            for (what, secret) in [
                ("as PEM", pem.clone()),
                ("as PEM without the last line end", pem[..pem.len() - 1].to_vec()),
                ("as DER", spki.clone()),
                ("as JWK", jwk.to_string().into_bytes()),
                ("by its modulus", BASE64URL_NOPAD.decode(jwk["n"].as_str().unwrap().as_bytes()).unwrap()),
                ("by nothing", Vec::new()),
            ] {
                let header = json!({"alg": alg, "typ": "JWT", "kid": self.rsa.kid()});
                let token = TestKey::sign_with_secret(alg, &secret, &header, &claims);
                self.refused(format!("{alg} with the public key {what}"), "algorithm_unsupported", token);
            }
        }
        for (alg, key) in [
            ("RS256", &self.key),
            ("RS256", &self.ed25519),
            ("PS256", &self.p384),
            ("ES256", &self.rsa),
            ("ES256", &self.p384),
            ("ES384", &self.key),
            ("EdDSA", &self.key),
            ("EdDSA", &self.rsa),
        ]
        .map(|(alg, key)| (alg, key.clone()))
        {
            let header = json!({"alg": alg, "kid": key.kid()}).to_string();
            let token = key.sign_bytes(key.usual_alg(), header.as_bytes(), claims.to_string().as_bytes());
            self.refused(format!("{alg} with the key `{}`", key.kid()), "key_mismatch", token);
        }
        for (named, used) in [("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS512"), ("PS512", "PS384")] {
            let header = json!({"alg": named, "kid": self.rsa.kid()}).to_string();
            let token = self.rsa.sign_bytes(used, header.as_bytes(), claims.to_string().as_bytes());
            self.refused(format!("a signature by {used} under {named}"), "signature_invalid", token);
        }
        let mut bound = self.rsa.jwk();
        bound["alg"] = json!("RS384");
        self.trust("bound", &json!({ "algorithms": every }), &[bound]);
        let header = |alg: &str| json!({"alg": alg, "kid": self.rsa.kid()});
        let bound = ["RS256", "PS384", "RS384"].map(|alg| self.rsa.sign(&header(alg), &self.claims_of("bound")));
        let [rs256, ps384, rs384] = bound;
        self.refused("RS256 with a key that is for RS384", "key_mismatch", rs256);
        self.refused("PS384 with a key that is for RS384", "key_mismatch", ps384);
        self.accepted("RS384 with a key that is for it", rs384);
        for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
            let key = match alg {
                "ES256" => &self.key,
                "ES384" => &self.p384,
                "EdDSA" => &self.ed25519,
                _ => &self.rsa,
            };
            let token = key.sign(&json!({"alg": alg, "kid": key.kid()}), &claims);
            self.accepted(format!("{alg}, with a key without `alg`"), token);
        }
    }

    /// What a header may not ask for.
    fn headers(&mut self) {
        for (what, crit) in
            [("of a claim", json!(["exp"])), ("of `b64`", json!(["b64"])), ("empty", json!([])), ("null", Value::Null)]
        {
            self.refused_header(format!("`crit` {what}"), "critical_header", &self.header_with("crit", crit));
        }
        for b64 in [false, true] {
            self.refused_header(format!("`b64` {b64}"), "critical_header", &self.header_with("b64", b64));
        }
        for (what, typ) in [
            ("of a logout token", json!("logout+jwt")),
            ("of a DPoP proof", json!("dpop+jwt")),
            ("of a security event", json!("secevent+jwt")),
            ("of an authorization request", json!("oauth-authz-req+jwt")),
            ("of JWE and JWS in JSON", json!("JOSE+JSON")),
            ("that is another media type", json!("text/jwt")),
            ("empty", json!("")),
            ("as a number", json!(1)),
            ("null", Value::Null),
            ("in a list", json!(["JWT"])),
        ] {
            self.refused_header(format!("`typ` {what}"), "type_not_accepted", &self.header_with("typ", typ));
        }
        for typ in ["JWT", "jwt", "application/JWT", "at+jwt", "AT+JWT", "application/at+jwt"] {
            self.accepted(format!("`typ` {typ}"), self.key.sign(&self.header_with("typ", typ), &self.claims()));
        }
        self.accepted("no `typ`", self.key.sign(&self.header_without("typ"), &self.claims()));
        self.trust("typed", &json!({"token_type": "at+jwt"}), &[self.key.jwk()]);
        let typed = |header: &Value| self.key.sign(header, &self.claims_of("typed"));
        let (jwt, none) = (typed(&self.header()), typed(&self.header_without("typ")));
        let good = ["at+jwt", "application/AT+JWT"].map(|typ| (typ, typed(&self.header_with("typ", typ))));
        self.trust("plain", &json!({"token_type": "JWT"}), &[self.key.jwk()]);
        let plain = |changes: &[(&str, Value)]| self.sign(&changed(self.claims_of("plain"), changes));
        let (plain, plain_logout) = (plain(&[]), plain(&[("events", json!({}))]));
        self.accepted("the configured `typ` JWT", plain);
        self.refused("`events` where `typ` tells nothing", "logout_token", plain_logout);
        let logout = changed(self.claims_of("typed"), &[("events", json!({}))]);
        self.accepted(
            "`events` where `typ` tells what it is",
            self.key.sign(&self.header_with("typ", "at+jwt"), &logout),
        );
        self.refused("another `typ` than the configured one", "type_not_accepted", jwt);
        self.refused("no `typ` where one is configured", "type_not_accepted", none);
        for (typ, token) in good {
            self.accepted(format!("the configured `typ` as {typ}"), token);
        }
    }

    /// `kid` selects, and nothing else does.
    fn key_ids(&mut self) {
        for (what, kid) in [
            ("as a number", json!(1)),
            ("null", Value::Null),
            ("in a list", json!(["k1"])),
            ("in an object", json!({"kid": "k1"})),
        ] {
            self.refused_header(format!("`kid` {what}"), "key_id_malformed", &self.header_with("kid", kid));
        }
        for (what, kid) in [
            ("of no key", "k2"),
            ("empty", ""),
            ("in another case", "K1"),
            ("as a path", "../../../../dev/null"),
            ("as a path to the key", "./k1"),
            ("as a query", "k1' OR '1'='1"),
            ("with a NUL behind", "k1\0"),
        ] {
            self.refused_header(format!("`kid` {what}"), "key_unknown", &self.header_with("kid", kid));
        }
        let forger = TestKey::p256("k1");
        for (what, member, value) in [
            ("in `jwk`", "jwk", forger.jwk()),
            ("by `jku`", "jku", json!(format!("{}/stolen/keys", self.base))),
            ("by `x5u`", "x5u", json!(format!("{}/stolen/chain", self.base))),
            ("in `x5c`", "x5c", json!([BASE64.encode(&[0x30; 64])])),
        ] {
            let token = forger.sign(&self.header_with(member, value), &self.claims());
            self.refused(format!("a key brought along {what}"), "signature_invalid", token);
        }
        let no_kid = self.header_without("kid");
        let second = TestKey::p256("k2");
        self.trust("two", &json!({}), &[self.key.jwk(), second.jwk()]);
        self.trust("mixed", &json!({}), &[self.key.jwk(), self.ed25519.jwk()]);
        self.trust("twins", &json!({}), &[self.key.jwk(), TestKey::p256("k1").jwk(), second.jwk()]);
        let of = |id: &str, header: &Value| self.key.sign(header, &self.claims_of(id));
        let (two, mixed, twin) = (of("two", &no_kid), of("mixed", &no_kid), of("twins", &self.header()));
        let single = second.sign(&json!({"alg": "ES256", "kid": "k2"}), &self.claims_of("twins"));
        self.refused("no `kid` and two keys", "key_ambiguous", two);
        self.refused("no `kid`, and two keys of which one fits", "key_ambiguous", mixed);
        self.refused("a `kid` that two keys have", "key_ambiguous", twin);
        self.accepted("a `kid` beside one that two keys have", single);
        self.accepted("no `kid` and one key", self.key.sign(&no_kid, &self.claims()));
        self.shared_key_ids();

        let weak = TestKey::rsa_bits("weak", 1024);
        let mut private = self.key.jwk();
        private["use"] = json!("enc");
        private["kid"] = json!("enc");
        let mut odd = self.key.jwk();
        odd["x"] = json!("AA");
        odd["kid"] = json!("odd");
        let keys =
            [json!(null), json!({"kty": "oct", "kid": "oct", "k": "AA"}), odd, private, weak.jwk(), self.key.jwk()];
        self.trust("spoilt", &json!({}), &keys);
        let claims = self.claims_of("spoilt");
        for (what, kid) in [("an encryption key", "enc"), ("a broken key", "odd"), ("a symmetric key", "oct")] {
            let token = self.key.sign(&self.header_with("kid", kid), &claims);
            self.refused(what, "key_unknown", token);
        }
        let short = weak.sign(&json!({"alg": "RS256", "kid": "weak"}), &claims);
        self.refused("an RSA key of 1024 bits", "key_unknown", short);
        self.accepted("a good key in a set of bad ones", self.key.sign(&self.header(), &claims));
    }

    /// One `kid` for several entries of the key set.
    fn shared_key_ids(&mut self) {
        let rsa = TestKey::rsa("k1");
        self.trust(
            "types",
            &json!({"algorithms": ["RS256", "ES256", "EdDSA"]}),
            &[rsa.jwk(), self.key.jwk(), self.ed25519.jwk()],
        );
        let claims = self.claims_of("types");
        let header = |alg: &str| json!({"alg": alg, "kid": "k1"});
        let (by_rsa, by_ec) = (rsa.sign(&header("RS256"), &claims), self.key.sign(&header("ES256"), &claims));
        let forged = TestKey::rsa("k1").sign(&header("RS256"), &claims);
        let confused = rsa.sign_bytes("RS256", header("ES256").to_string().as_bytes(), claims.to_string().as_bytes());
        let elsewhere = self.ed25519.sign(&json!({"alg": "EdDSA", "kid": "k1"}), &claims);
        self.accepted("RS256 under a `kid` of an RSA and an EC key", by_rsa);
        self.accepted("ES256 under a `kid` of an RSA and an EC key", by_ec);
        self.refused("another RSA key under a `kid` of several types", "signature_invalid", forged);
        self.refused("an RSA signature under ES256, where the `kid` has both", "signature_invalid", confused);
        self.refused("EdDSA by a key of another `kid`", "key_mismatch", elsewhere);

        let listed = |alg: &str, purpose: &str| {
            let mut jwk = rsa.jwk();
            (jwk["alg"], jwk["use"]) = (json!(alg), json!(purpose));
            jwk
        };
        let entries = [listed("RS256", "sig"), listed("RS384", "sig"), listed("RS512", "enc")];
        self.trust("listed", &json!({"algorithms": ["RS256", "RS384", "RS512"]}), &entries);
        let claims = self.claims_of("listed");
        let [rs256, rs384, rs512] = ["RS256", "RS384", "RS512"].map(|alg| rsa.sign(&header(alg), &claims));
        self.accepted("RS256 with a key that is listed for it and others", rs256);
        self.accepted("RS384 with a key that is listed for it and others", rs384);
        self.refused("RS512 with a key that is for encryption there", "key_mismatch", rs512);
    }

    /// What is no signature of the key over these bytes.
    fn signatures(&mut self) {
        let valid = self.valid();
        let [head, body, signature] = parts(&valid);
        let raw = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        let with = |signature: &[u8]| format!("{head}.{body}.{}", BASE64URL_NOPAD.encode(signature));
        let mut flipped = raw.clone();
        flipped[0] ^= 1;
        let (r, s) = raw.split_at(32);
        for (what, token) in [
            ("a signature with one bit changed", with(&flipped)),
            ("no signature", with(&[])),
            ("a signature of zeros", with(&[0; 64])),
            ("a signature of zeros in DER", with(&der(&[0; 64]))),
            ("a signature of the curve's order", with(&[P256_ORDER, P256_ORDER].concat())),
            ("a signature in DER", with(&der(&raw))),
            ("half a signature", with(r)),
            ("a signature with its halves swapped", with(&[s, r].concat())),
            ("a signature with a byte more", with(&[raw.as_slice(), &[0]].concat())),
            ("another's signature", TestKey::p256("k1").sign(&self.header(), &self.claims())),
            ("other claims under the signature", {
                let other = self.claims_with("sub", "mallory").to_string();
                format!("{head}.{}.{signature}", BASE64URL_NOPAD.encode(other.as_bytes()))
            }),
            ("another header over the signature", {
                let other = self.header_with("typ", "at+jwt").to_string();
                format!("{}.{body}.{signature}", BASE64URL_NOPAD.encode(other.as_bytes()))
            }),
            ("the signature of another token", {
                let other = self.sign(&self.claims_with("sub", "mallory"));
                let [_, _, signature] = parts(&other);
                format!("{head}.{body}.{signature}")
            }),
        ] {
            self.refused(what, "signature_invalid", token);
        }
    }

    /// Tokens of the same issuer that are no sign-ins.
    fn kinds(&mut self) {
        let logout = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
        self.refused_claim("events", "logout_token", &[("of a logout", logout), ("empty", json!({}))]);
        self.refused_claim(
            "cnf",
            "sender_constrained",
            &[
                ("of DPoP", json!({"jkt": "x"})),
                ("of mutual TLS", json!({"x5t#S256": "x"})),
                ("empty", json!({})),
                ("null", Value::Null),
            ],
        );
    }

    /// For whom, and by way of whom.
    fn audiences(&mut self) {
        self.refused_without("aud", "audience_malformed");
        self.refused_claim(
            "aud",
            "audience_malformed",
            &[
                ("null", Value::Null),
                ("as a number", json!(7)),
                ("as a boolean", json!(true)),
                ("in an object", json!({"hallpass": true})),
                ("in a list with a number", json!(["hallpass", 1])),
                ("in a list with null", json!([null, "hallpass"])),
                ("in a list in a list", json!([["hallpass"]])),
            ],
        );
        self.refused_claim(
            "aud",
            "audience_mismatch",
            &[
                ("of another", json!("another")),
                ("that ours begins", json!("hallpass2")),
                ("that begins ours", json!("hall")),
                ("in another case", json!("Hallpass")),
                ("with a space behind", json!("hallpass ")),
                ("empty", json!("")),
                ("as an empty list", json!([])),
                ("with both of ours in one string", json!("hallpass other-name")),
                ("as a pattern", json!("*")),
            ],
        );
        self.trust("parties", &json!({"authorized_parties": ["app-1"]}), &[self.key.jwk()]);
        let of = |changes: &[(&str, Value)]| self.sign(&changed(self.claims_of("parties"), changes));
        let refused = [
            ("no party", of(&[])),
            ("a party that is not authorized", of(&[("azp", json!("app-2"))])),
            ("a party in a list", of(&[("azp", json!(["app-1"]))])),
            ("an `azp` of another, though `client_id` is ours", {
                of(&[("azp", json!("app-2")), ("client_id", json!("app-1"))])
            }),
        ];
        let accepted = [
            ("an authorized `azp`", of(&[("azp", json!("app-1"))])),
            ("an authorized `client_id`", { of(&[("client_id", json!("app-1"))]) }),
        ];
        for (what, token) in refused {
            self.refused(what, "party_not_authorized", token);
        }
        for (what, token) in accepted {
            self.accepted(what, token);
        }
    }

    /// When.
    fn times(&mut self) {
        let (now, slack) = (self.now, self.slack);
        let outside = LEEWAY + slack;
        for (claim, reason) in
            [("exp", "expiry_malformed"), ("iat", "issued_at_malformed"), ("nbf", "not_before_malformed")]
        {
            self.refused_claim(
                claim,
                reason,
                &[
                    ("as a string", json!((now + 300).to_string())),
                    ("as a boolean", json!(true)),
                    ("in a list", json!([now])),
                    ("in an object", json!({"time": now})),
                    ("null", Value::Null),
                ],
            );
        }
        self.refused_without("exp", "expiry_malformed");
        self.refused_without("iat", "issued_at_malformed");
        self.refused_claim(
            "exp",
            "expired",
            &[("past the leeway", json!(now - LEEWAY)), ("negative", json!(-1)), ("of -1e18", json!(-1e18))],
        );
        self.refused_claim("nbf", "not_yet_valid", &[("ahead", json!(now + outside + 1)), ("of 1e18", json!(1e18))]);
        self.refused_claim("iat", "issued_in_future", &[("ahead", json!(now + outside + 1)), ("of 1e18", json!(1e18))]);
        self.refused_claim(
            "iat",
            "lifetime_too_long",
            &[("a day before `exp` and a second", json!(now + 599 - DAY)), ("negative", json!(-1))],
        );
        self.refused_claim(
            "exp",
            "lifetime_too_long",
            &[("in a day and a second", json!(now + DAY + 1)), ("of 1e18", json!(1e18)), ("of 1e300", json!(1e300))],
        );
        let claims = self.claims();
        let at = |exp: Value, iat: Value| changed(claims.clone(), &[("exp", exp), ("iat", iat)]);
        let backwards = at(json!(now + 20), json!(now + 20));
        self.refused("expiring as it is issued", "expiry_before_issue", self.sign(&backwards));
        let long = at(json!(now + 600), json!(now - DAY));
        self.refused("a lifetime that began long ago", "lifetime_too_long", self.sign(&long));

        let stale = at(json!(now - LEEWAY + 1 + slack), json!(now - 600));
        let early = changed(self.claims(), &[("iat", json!(now + LEEWAY)), ("exp", json!(now + 600))]);
        let exp = json!(f64::from(u32::try_from(now).unwrap()) + 600.75);
        self.accepted("expired within the leeway", self.sign(&stale));
        self.accepted("issued within the leeway", self.sign(&early));
        self.accepted("a fractional `exp`", self.sign(&self.claims_with("exp", exp)));
        self.accepted("valid within the leeway", self.sign(&self.claims_with("nbf", now + LEEWAY)));
        self.accepted("a negative `nbf`", self.sign(&self.claims_with("nbf", -1)));
        self.accepted("a whole day", self.sign(&self.claims_with("exp", now + DAY)));
        self.trust("brief", &json!({"max_token_lifetime": 700}), &[self.key.jwk()]);
        let of = |exp: u64| self.sign(&changed(self.claims_of("brief"), &[("exp", json!(exp))]));
        let (within, beyond) = (of(now + 700), of(now + 701));
        self.accepted("the longest life that is configured", within);
        self.refused("a second more than is configured", "lifetime_too_long", beyond);
    }

    /// Who.
    fn subjects(&mut self) {
        self.refused_without("sub", "subject_malformed");
        self.refused_claim(
            "sub",
            "subject_malformed",
            &[
                ("null", Value::Null),
                ("empty", json!("")),
                ("as a number", json!(7)),
                ("in a list", json!(["carol"])),
                ("of 256 bytes", json!("é".repeat(128))),
                ("with a line end", json!("carol\n")),
                ("with a NUL", json!("carol\u{0}")),
                ("with DEL", json!("carol\u{7f}")),
                ("with a control character of Latin-1", json!("carol\u{85}")),
            ],
        );
        self.trust("once", &json!({"single_use": true}), &[self.key.jwk()]);
        let once = |id: Option<Value>| {
            let id: Vec<(&str, Value)> = id.into_iter().map(|id| ("jti", id)).collect();
            self.sign(&changed(self.claims_of("once"), &id))
        };
        let refused = [
            ("no `jti` where each token serves once", once(None)),
            ("an empty `jti` where each token serves once", once(Some(json!("")))),
            ("a `jti` as a number where each token serves once", once(Some(json!(7)))),
        ];
        let good = once(Some(json!("t-1")));
        for (what, token) in refused {
            self.refused(what, "token_id_missing", token);
        }
        self.accepted("a `jti` where each token serves once", good);
        self.accepted("a subject of 255 bytes", self.sign(&self.claims_with("sub", "a".repeat(255))));
        let terms = json!({"subject_claim": "/user/id", "audience_claim": "/client_id", "groups_claim": "/x~1y",
            "authorized_parties": ["app-1"], "party_claim": "/party/0"});
        self.trust("renamed", &terms, &[self.key.jwk()]);
        let mut claims = self.claims_of("renamed");
        claims.as_object_mut().unwrap().retain(|name, _| !["sub", "aud", "groups"].contains(&name.as_str()));
        let good = [
            ("user", json!({"id": "carol"})),
            ("client_id", json!("hallpass")),
            ("x/y", json!(["deployers"])),
            ("party", json!(["app-1"])),
        ];
        let claims = changed(claims, &good);
        self.accepted("claims by other names", self.sign(&claims));
        for (claim, value, reason) in [
            ("user", json!({"id": ""}), "subject_malformed"),
            ("user", json!({}), "subject_malformed"),
            ("client_id", json!("another"), "audience_mismatch"),
            ("x/y", json!(7), "groups_malformed"),
            ("party", json!(["app-2", "app-1"]), "party_not_authorized"),
        ] {
            let token = self.sign(&changed(claims.clone(), &[(claim, value.clone())]));
            self.refused(format!("`{claim}` of another name as {value}"), reason, token);
        }
    }

    fn required_claims(&mut self) {
        let terms = json!({"required_claims": {"/hd": ["example.com", "example.net"], "/email_verified": [true]}});
        self.trust("required", &terms, &[self.key.jwk()]);
        let of = |hd: Value, verified: Value| {
            self.sign(&changed(self.claims_of("required"), &[("hd", hd), ("email_verified", verified)]))
        };
        let refused = [
            ("required claims missing", self.sign(&self.claims_of("required"))),
            ("a required claim of another value", of(json!("evil.example"), json!(true))),
            ("a required claim in another case", of(json!("Example.com"), json!(true))),
            ("a required claim in a list of others", of(json!(["evil.example", "Example.com"]), json!(true))),
            ("a required claim in an empty list", of(json!([]), json!(true))),
            ("a required claim in a list in a list", of(json!([["example.com"]]), json!(true))),
            ("a required claim in a list with a number", of(json!(["example.com", 7]), json!(true))),
            ("a required claim in a list with null", of(json!([null, "example.com"]), json!(true))),
            ("a required claim in a list with an object", of(json!(["example.com", {}]), json!(true))),
            ("a required claim as a list in a string", of(json!("[\"example.com\"]"), json!(true))),
            ("a required claim with another in one string", of(json!("example.com example.net"), json!(true))),
            ("a required claim as the name of a member", of(json!({"example.com": true}), json!(true))),
            ("a required claim that is null", of(Value::Null, json!(true))),
            ("a required boolean as a string in a list", of(json!("example.com"), json!(["true"]))),
            ("a required boolean as a string", of(json!("example.com"), json!("true"))),
            ("a required boolean as a number", of(json!("example.com"), json!(1))),
            ("a required boolean of the other value", of(json!("example.com"), json!(false))),
        ];
        let accepted = [
            of(json!("example.com"), json!(true)),
            of(json!("example.net"), json!(true)),
            of(json!(["evil.example", "example.net"]), json!([false, true])),
        ];
        for (what, token) in refused {
            self.refused(what, "required_claim", token);
        }
        for token in accepted {
            self.accepted("the required claims", token);
        }
    }

    fn groups(&mut self) {
        let many = |count: usize| json!((0..count).map(|number| format!("g{}", number % 201)).collect::<Vec<_>>());
        self.refused_claim(
            "groups",
            "groups_malformed",
            &[
                ("null", Value::Null),
                ("as a number", json!(7)),
                ("in an object", json!({"deployers": true})),
                ("empty", json!("")),
                ("with a bad one among good ones", json!(["deployers", 1])),
                ("with null among good ones", json!(["deployers", null])),
                ("with an empty one", json!(["deployers", ""])),
                ("with a line end in one", json!(["deployers\n"])),
                ("with one of 256 bytes", json!(["deployers", "g".repeat(256)])),
                ("in a list in a list", json!([["deployers"]])),
            ],
        );
        self.refused_claim("groups", "groups_too_many", &[("that are 201", many(201))]);
        self.refused_claim(
            "_claim_names",
            "groups_overage",
            &[
                ("that names the groups", json!({"groups": "src1"})),
                ("as a string", json!("groups")),
                ("null", Value::Null),
            ],
        );
        self.refused_claim(
            "hasgroups",
            "groups_overage",
            &[("true", json!(true)), ("as a string", json!("true")), ("null", Value::Null)],
        );
        self.trust("strict", &json!({"groups_required": true}), &[self.key.jwk()]);
        let mut none = self.claims_of("strict");
        none.as_object_mut().unwrap().remove("groups");
        self.refused("no groups where they are required", "groups_missing", self.sign(&none));
        let empty = changed(none, &[("groups", json!([]))]);
        self.accepted("an empty list of groups where they are required", self.sign(&empty));

        self.trust("nested", &json!({"groups_claim": "/realm_access/roles"}), &[self.key.jwk()]);
        let of = |access: Value| self.sign(&changed(self.claims_of("nested"), &[("realm_access", access)]));
        let refused = [
            ("groups in what is null", of(Value::Null)),
            ("groups in what is a string", of(json!("roles"))),
            ("groups in a list of objects", of(json!([{"roles": ["admins"]}]))),
        ];
        let accepted = [
            ("groups inside an object", of(json!({"roles": ["deployers"]}))),
            ("no groups inside an object", of(json!({}))),
            ("no object for groups", self.sign(&self.claims_of("nested"))),
        ];
        for (what, token) in refused {
            self.refused(what, "groups_malformed", token);
        }
        for (what, token) in accepted {
            self.accepted(what, token);
        }
        self.accepted("no groups", self.sign(&self.claims_without("groups")));
        for (what, groups) in [
            ("one group as a string", json!("deployers")),
            ("200 groups", many(200)),
            ("groups twice", json!(["a", "a"])),
        ] {
            self.accepted(what, self.sign(&self.claims_with("groups", groups)));
        }
        self.accepted("`_claim_names` of other claims", {
            self.sign(&self.claims_with("_claim_names", json!({"roles": "src1"})))
        });
        self.accepted("`hasgroups` false", self.sign(&self.claims_with("hasgroups", false)));
    }

    /// Groups in one string.
    fn groups_in_text(&mut self) {
        self.refused_claim(
            "groups",
            "groups_in_text",
            &[
                ("as a list in a string, as Cognito maps SAML", json!("[contractors, devs]")),
                ("as a list of JSON in a string", json!(r#"["contractors","devs"]"#)),
                ("as a list in a string behind white space", json!("\t\u{a0}\n [contractors]")),
                ("as a list that does not end in a string", json!("[contractors")),
                ("as an object in a string", json!(r#"{"contractors":true}"#)),
            ],
        );
        self.accepted("a group with brackets in its name", self.sign(&self.claims_with("groups", "Staff [EU] {x}")));
        let bracketed = self.claims_with("groups", json!(["[EU] Staff", "{6f9619ff-8b86-d011-b42d-00c04fc964ff}"]));
        self.accepted("groups in a list that begin with brackets", self.sign(&bracketed));

        for (id, separator) in [("commas", ","), ("spaces", " ")] {
            self.trust(id, &json!({ "groups_separator": separator }), &[self.key.jwk()]);
            let of = |groups: Value| self.sign(&changed(self.claims_of(id), &[("groups", groups)]));
            let joined = |names: &[&str]| json!(names.join(separator));
            let many: Vec<String> = (0..201).map(|number| format!("g{number}")).collect();
            let long = "g".repeat(256);
            let refused = [
                ("an empty one between others", "groups_malformed", joined(&["a", "", "b"])),
                ("an empty one first", "groups_malformed", joined(&["", "a"])),
                ("an empty one last", "groups_malformed", joined(&["a", ""])),
                ("none but empty ones", "groups_malformed", joined(&["", ""])),
                ("nothing in it", "groups_malformed", json!("")),
                ("a line end", "groups_malformed", joined(&["a", "\nb"])),
                ("a tab", "groups_malformed", joined(&["a\t", "b"])),
                ("one of 256 bytes", "groups_malformed", joined(&["a", &long])),
                ("201 groups", "groups_too_many", json!(many.join(separator))),
                ("a list in it", "groups_in_text", joined(&["[a", "b]"])),
                ("a list behind others", "groups_in_text", joined(&["a", "\u{a0}[b", "c]"])),
                ("an object behind others", "groups_in_text", joined(&["a", "{}"])),
            ];
            let accepted = [
                ("groups", joined(&["a", "b", "a"])),
                ("one group", json!("a")),
                ("200 groups", json!(many[..200].join(separator))),
                ("a list, which is not split", json!(["a,b", "c d", "[e"])),
                ("no groups in a list", json!([])),
            ];
            let refused = refused.map(|(what, reason, groups)| (what, reason, of(groups)));
            let accepted = accepted.map(|(what, groups)| (what, of(groups)));
            for (what, reason, token) in refused {
                self.refused(format!("a string separated by {id} with {what}"), reason, token);
            }
            for (what, token) in accepted {
                self.accepted(format!("separated by {id}: {what}"), token);
            }
        }
    }

    /// Claims that a pointer finds in a list.
    fn indexed(&mut self) {
        self.trust("indexed", &json!({"groups_claim": "/x/1"}), &[self.key.jwk()]);
        let of = |x: Value| self.sign(&changed(self.claims_of("indexed"), &[("x", x)]));
        let (both, one, none) = (of(json!(["a", "b"])), of(json!(["a"])), of(json!({})));
        let bad = of(json!(["a", 7]));
        self.accepted("groups at an index", both);
        self.accepted("no groups at an index", one);
        self.accepted("no groups in an object", none);
        self.refused("a number as groups at an index", "groups_malformed", bad);
    }

    fn genuine(&mut self) {
        self.accepted("nothing changed", self.valid());
        self.accepted("10,000 bytes", self.of_length(LONGEST));
        for (what, aud) in [
            ("one audience in a list", json!(["hallpass"])),
            ("another of our audiences", json!("other-name")),
            ("several audiences, as Auth0 sends them", json!(["https://example.com/userinfo", "hallpass"])),
        ] {
            self.accepted(what, self.sign(&self.claims_with("aud", aud)));
        }
        self.accepted("claims with white space", {
            self.sign_raw(self.header().to_string(), format!(" {}\r\n\t", self.claims()))
        });
    }

    /// A good token of exactly this many bytes.
    fn of_length(&self, length: usize) -> String {
        // base64url makes no text of 4n + 1 bytes: white space before the header shifts the rest.
        let sized = |shift: usize, filler: usize| {
            let header = format!("{}{}", " ".repeat(shift), self.header());
            self.sign_raw(header, self.claims_with("x", "x".repeat(filler)).to_string())
        };
        let short_of = length - sized(0, 0).len();
        let fillers = short_of * 3 / 4 - 8..short_of * 3 / 4 + 8;
        let mut candidates = fillers.flat_map(|filler| (0..3).map(move |shift| sized(shift, filler)));
        candidates.find(|token| token.len() == length).expect("a token of that length")
    }

    /// Good claims whose bytes leave this remainder when they are divided by three.
    fn claims_of_remainder(&self, remainder: usize) -> String {
        let padded = (0..3).map(|spaces| format!("{}{}", self.claims(), " ".repeat(spaces)));
        padded.into_iter().find(|claims| claims.len() % 3 == remainder).unwrap()
    }
}

/// The order of the group of P-256 (SEC 2 §2.4.2). As `r` or `s` it is zero.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn changed(mut claims: Value, changes: &[(&str, Value)]) -> Value {
    let members: Map<String, Value> = changes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    claims.as_object_mut().unwrap().extend(members);
    claims
}

fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// The same bytes, spelled with the last character's lowest spare bit set.
fn respelled(part: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = part.split_at(part.len() - 1);
    let at = ALPHABET.iter().position(|letter| [*letter] == last.as_bytes()).unwrap();
    assert!(!part.len().is_multiple_of(4) && at.is_multiple_of(2), "no spare bit that is not set");
    format!("{rest}{}", char::from(ALPHABET[at + 1]))
}

/// A fixed-length ECDSA signature as DER, which other protocols use and JOSE does not.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let mut bytes = vec![0];
        bytes.extend(half);
        let mut out = vec![2, u8::try_from(bytes.len()).unwrap()];
        out.extend(bytes);
        out
    };
    let (r, s) = raw.split_at(32);
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}
