//! What would an identity provider sign, and what would a forger?
//!
//! Keys and compact JWS for tests: well-formed ones by [`TestKey::sign`], any other by [`TestKey::sign_bytes`].
//! Every key is made in the process that uses it; none is ever stored, but one that is known to everyone anyway.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// The modulus of a 1024-bit RSA key whose private half is gone.
const WEAK_MODULUS: &[u8] = &[
    0xa5, 0xf9, 0x25, 0xd4, 0xaf, 0x35, 0xaa, 0xf1, 0xb7, 0x53, 0x2f, 0xd5, 0xa3, 0xfd, 0xce, 0x31, 0x75, 0x76, 0xd8,
    0xcc, 0xd1, 0x23, 0xa5, 0x86, 0xa2, 0xec, 0xf4, 0x6b, 0x80, 0x6e, 0x2c, 0x7d, 0x9f, 0xed, 0xc4, 0xb8, 0xe2, 0xd0,
    0x28, 0x84, 0x34, 0x5d, 0x34, 0xaa, 0x33, 0x8f, 0xd8, 0xb6, 0x37, 0x47, 0x8e, 0x7d, 0x5e, 0xf0, 0x9c, 0x0f, 0x2c,
    0x78, 0xae, 0x9d, 0xfd, 0x70, 0x57, 0x75, 0x0b, 0xb4, 0x85, 0x86, 0xa4, 0x54, 0x4e, 0xe6, 0xe3, 0x1c, 0x04, 0x67,
    0xab, 0xb9, 0xdf, 0x08, 0xed, 0x58, 0xf1, 0xac, 0x87, 0x1b, 0xfb, 0xb8, 0x76, 0xe0, 0x64, 0xb7, 0xa1, 0x86, 0x74,
    0xd9, 0x61, 0x9c, 0xe3, 0xce, 0xe4, 0x57, 0x67, 0x51, 0xde, 0x3e, 0xca, 0x38, 0x55, 0xa8, 0x20, 0x20, 0x94, 0x50,
    0x2c, 0xa4, 0x21, 0x91, 0x4e, 0xa4, 0x01, 0xce, 0x10, 0x22, 0x2b, 0x51, 0xce, 0xc1,
];

/// The public exponent of every RSA key here: 65537.
const EXPONENT: &[u8] = &[1, 0, 1];

/// A signing key with its key id.
#[derive(Clone)]
pub struct TestKey {
    kid: String,
    pair: Pair,
}

#[derive(Clone)]
enum Pair {
    Rsa(Arc<RsaKeyPair>),
    /// Under 2048 bits no library of today signs or verifies. The signature is filler: such a key has to be turned
    /// away before any signature is looked at.
    WeakRsa,
    P256(Arc<EcdsaKeyPair>),
    P384(Arc<EcdsaKeyPair>),
    Ed25519(Arc<Ed25519KeyPair>),
}

impl TestKey {
    /// An RSA key of 2048 bits.
    pub fn rsa(kid: &str) -> Self {
        Self::rsa_bits(kid, 2048)
    }

    /// An RSA key of 1024, 2048, 3072 or 4096 bits.
    pub fn rsa_bits(kid: &str, bits: usize) -> Self {
        let pair = match bits {
            1024 => Pair::WeakRsa,
            2048 => Pair::Rsa(pooled(KeySize::Rsa2048)),
            3072 => Pair::Rsa(pooled(KeySize::Rsa3072)),
            4096 => Pair::Rsa(pooled(KeySize::Rsa4096)),
            _ => panic!("no RSA key of {bits} bits here"),
        };
        Self::new(kid, pair)
    }

    /// A key on P-256, for `ES256`.
    pub fn p256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self::new(kid, Pair::P256(Arc::new(pair)))
    }

    /// The key on P-256 of the private number 379, of which `x` begins with a zero byte.
    pub fn p256_beginning_with_zero(kid: &str) -> Self {
        let private = [[0; 30].as_slice(), &379_u16.to_be_bytes()].concat();
        let coordinate = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        let point = [
            vec![4],
            coordinate("AFVDiUrz0A7X10Cr29dclrBod7eH219w7qeLkKjXwAo"),
            coordinate("u0yFo9jqKe-q-iRAaRLdhNWxTcMr9lbvbGvVil2UP5I"),
        ]
        .concat();
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, &point).unwrap();
        Self::new(kid, Pair::P256(Arc::new(pair)))
    }

    /// A key on P-384, for `ES384`.
    pub fn p384(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self::new(kid, Pair::P384(Arc::new(pair)))
    }

    /// A key on Ed25519, for `EdDSA`.
    pub fn ed25519(kid: &str) -> Self {
        Self::new(kid, Pair::Ed25519(Arc::new(Ed25519KeyPair::generate().unwrap())))
    }

    fn new(kid: &str, pair: Pair) -> Self {
        Self { kid: kid.to_owned(), pair }
    }

    /// The key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK with `kty`, its parameters, `kid` and `use`, and without `alg`.
    pub fn jwk(&self) -> Value {
        let b64 = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let rsa = |modulus: &[u8]| json!({"kty": "RSA", "n": b64(modulus), "e": b64(EXPONENT)});
        let ec = |crv: &str, pair: &EcdsaKeyPair| {
            // SEC 1, uncompressed: 04, then x and y of one length.
            let (_, point) = pair.public_key().as_ref().split_first().unwrap();
            let (x, y) = point.split_at(point.len().div_euclid(2));
            json!({"kty": "EC", "crv": crv, "x": b64(x), "y": b64(y)})
        };
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => rsa(pair.public_key().modulus().big_endian_without_leading_zero()),
            Pair::WeakRsa => rsa(WEAK_MODULUS),
            Pair::P256(pair) => ec("P-256", pair),
            Pair::P384(pair) => ec("P-384", pair),
            Pair::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())}),
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A compact JWS, signed as the header's `alg` says.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let alg = header["alg"].as_str().expect("a header with `alg`");
        self.sign_bytes(alg, header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// A compact JWS over any bytes, signed with `alg` whatever the header says.
    pub fn sign_bytes(&self, alg: &str, header: &[u8], claims: &[u8]) -> String {
        let input = format!("{}.{}", BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(claims));
        let signature = self.signature(alg, input.as_bytes());
        format!("{input}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    /// A compact JWS by HMAC, as the forger signs who hopes that the verifier takes a public key for a shared secret.
    pub fn sign_with_secret(alg: &str, secret: &[u8], header: &Value, claims: &Value) -> String {
        let algorithm = match alg {
            "HS256" => hmac::HMAC_SHA256,
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            _ => panic!("{alg} is no HMAC"),
        };
        let encoded = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let input = format!("{}.{}", encoded(header), encoded(claims));
        let signature = hmac::sign(&hmac::Key::new(algorithm, secret), input.as_bytes());
        format!("{input}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }

    /// The `alg` that this key signs with where nobody chooses another.
    pub fn usual_alg(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) | Pair::WeakRsa => "RS256",
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// An RSA key's public half as `SubjectPublicKeyInfo` in DER, which PEM wraps.
    ///
    /// # Panics
    /// When this is no RSA key that can sign.
    pub fn public_der(&self) -> Vec<u8> {
        let Pair::Rsa(pair) = &self.pair else { panic!("{self:?} is no RSA key") };
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    /// The signature of `signing_input`; that of `none` is empty.
    ///
    /// # Panics
    /// When a key of this kind cannot sign with `alg`.
    pub fn signature(&self, alg: &str, signing_input: &[u8]) -> Vec<u8> {
        match (&self.pair, alg) {
            (_, "none") => Vec::new(),
            (Pair::Rsa(pair), _) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(rsa_encoding(alg), &SystemRandom::new(), signing_input, &mut signature).unwrap();
                signature
            }
            (Pair::WeakRsa, _) => vec![0x5a; WEAK_MODULUS.len()],
            (Pair::P256(pair), "ES256") | (Pair::P384(pair), "ES384") => {
                pair.sign(&SystemRandom::new(), signing_input).unwrap().as_ref().to_vec()
            }
            (Pair::Ed25519(pair), "EdDSA") => pair.sign(signing_input).as_ref().to_vec(),
            _ => panic!("{self:?} cannot sign with {alg}"),
        }
    }
}

impl fmt::Debug for TestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.pair {
            Pair::Rsa(_) | Pair::WeakRsa => "RSA",
            Pair::P256(_) => "P-256",
            Pair::P384(_) => "P-384",
            Pair::Ed25519(_) => "Ed25519",
        };
        write!(f, "TestKey({kind}, {})", self.kid)
    }
}

/// The claims of a token that a default configuration accepts, issued now and good for ten minutes.
pub fn valid_claims(issuer: &str, now_secs: u64) -> Value {
    json!({
        "iss": issuer,
        "sub": "carol",
        "aud": "hallpass",
        "iat": now_secs,
        "exp": now_secs.saturating_add(600),
        "groups": ["deployers"],
    })
}

fn rsa_encoding(alg: &str) -> &'static dyn RsaEncoding {
    match alg {
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        "PS512" => &signature::RSA_PSS_SHA512,
        _ => panic!("an RSA key cannot sign with {alg}"),
    }
}

/// RSA keys are slow to make, so the tests of one process share them: by size, and by how many the test had before.
static RSA_KEYS: Mutex<BTreeMap<(usize, usize), Arc<RsaKeyPair>>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// How many RSA keys this thread has been handed: a test runs on a thread of its own, and no two of its keys
    /// may be the same.
    static HANDED_OUT: Cell<usize> = const { Cell::new(0) };
}

fn pooled(size: KeySize) -> Arc<RsaKeyPair> {
    let nth = HANDED_OUT.get();
    HANDED_OUT.set(nth.saturating_add(1));
    let mut keys = RSA_KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = keys.entry((size.len(), nth)).or_insert_with(|| Arc::new(RsaKeyPair::generate(size).unwrap()));
    Arc::clone(key)
}
