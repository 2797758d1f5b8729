//! Which keys does an issuer publish, and which of them may verify this token?
//!
//! A JSON Web Key Set (RFC 7517) is read key by key, since providers publish keys that are not for us beside those
//! that are. jsonwebtoken checks neither `use`, `key_ops`, `alg`, `crv` nor the size of an RSA key: all of it is here.

use std::collections::BTreeSet;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::Refusal;
use crate::json;

/// Shorter RSA keys are within reach of a determined attacker (NIST SP 800-131A rev. 2).
const MIN_RSA_BITS: usize = 2048;
/// The longest modulus that the verifying library accepts.
const MAX_RSA_BITS: usize = 8192;
/// A public exponent of more bytes is no real key; it makes each verification slow.
const MAX_RSA_EXPONENT_BYTES: usize = 5;

/// An asymmetric signature algorithm, by its JOSE name (RFC 7518 §3.1, RFC 8037 §3.1). There is no variant for
/// `none` or for HMAC, so neither can be configured, selected or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the standard's own names")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The name in a header's `alg`, compared byte for byte.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::RS384 => jsonwebtoken::Algorithm::RS384,
            Self::RS512 => jsonwebtoken::Algorithm::RS512,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
            Self::PS384 => jsonwebtoken::Algorithm::PS384,
            Self::PS512 => jsonwebtoken::Algorithm::PS512,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::ES384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// The public part of a key: its `kty` and `crv` are the variant, its length is legal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256 { x: Vec<u8>, y: Vec<u8> },
    P384 { x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
}

impl Material {
    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        let bytes = |name| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
        let coordinate = |name, length| bytes(name).filter(|bytes| bytes.len() == length);
        match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let modulus = without_leading_zeros(bytes("n")?);
                let exponent = without_leading_zeros(bytes("e")?);
                let sound = (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits(&modulus))
                    && (1..=MAX_RSA_EXPONENT_BYTES).contains(&exponent.len())
                    // An even exponent is no exponent; with 1 the "signature" is the message itself.
                    && exponent.last().is_some_and(|last| last % 2 == 1)
                    && exponent != [1];
                sound.then_some(Self::Rsa { modulus, exponent })
            }
            ("EC", Some("P-256")) => Some(Self::P256 { x: coordinate("x", 32)?, y: coordinate("y", 32)? }),
            ("EC", Some("P-384")) => Some(Self::P384 { x: coordinate("x", 48)?, y: coordinate("y", 48)? }),
            ("OKP", Some("Ed25519")) => {
                let x = coordinate("x", 32)?;
                (!is_of_small_order(&x)).then_some(Self::Ed25519 { x })
            }
            _ => None,
        }
    }

    const fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match algorithm {
            RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => matches!(self, Self::Rsa { .. }),
            ES256 => matches!(self, Self::P256 { .. }),
            ES384 => matches!(self, Self::P384 { .. }),
            EdDSA => matches!(self, Self::Ed25519 { .. }),
        }
    }

    fn for_library(&self) -> DecodingKey {
        match self {
            Self::Rsa { modulus, exponent } => DecodingKey::from_rsa_raw_components(modulus, exponent),
            Self::P256 { x, y } | Self::P384 { x, y } => {
                // The uncompressed point of SEC 1 §2.3.3, which is what the library takes for "DER" here.
                DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat())
            }
            Self::Ed25519 { x } => DecodingKey::from_ed_der(x),
        }
    }
}

/// One usable key of a set.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    material: Material,
    algorithm: Option<Algorithm>,
    decoding: DecodingKey,
}

impl Key {
    /// Reads a key that may verify signatures; `None` for any other.
    fn read(jwk: &Value) -> Option<Self> {
        let jwk = jwk.as_object()?;
        let optional = |name: &str| match jwk.get(name) {
            None => Some(None),
            Some(Value::String(text)) => Some(Some(text.as_str())),
            Some(_) => None,
        };
        let id = optional("kid")?.map(str::to_owned);
        if optional("use")?.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops")
            && !operations.as_array()?.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        let material = Material::read(jwk)?;
        let algorithm = match optional("alg")? {
            None => None,
            Some(name) => Some(Algorithm::named(name).filter(|algorithm| material.fits(*algorithm))?),
        };
        let decoding = material.for_library();
        Some(Self { id, material, algorithm, decoding })
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.id, &self.material, self.algorithm) == (&other.id, &other.material, other.algorithm)
    }

    /// Verifies `signature` (base64url) over `input` with this key.
    pub(super) fn verify(&self, algorithm: Algorithm, input: &str, signature: &str) -> Result<(), Refusal> {
        if !self.material.fits(algorithm) || self.algorithm.is_some_and(|own| own != algorithm) {
            return Err(Refusal::KeyMismatch);
        }
        match jsonwebtoken::crypto::verify(signature, input.as_bytes(), &self.decoding, algorithm.of_library()) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Refusal::SignatureInvalid),
        }
    }
}

/// The usable keys that one issuer publishes.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Key ids under which two different keys were published: neither can be trusted to be the one meant.
    void: BTreeSet<String>,
}

impl KeySet {
    /// Reads a set. Keys that are broken, or not for verifying signatures, are left out.
    ///
    /// # Errors
    /// Nothing, where the text is no key set or no key in it is usable.
    #[expect(clippy::result_unit_err, reason = "who publishes an unusable set needs no more than to hear that it is")]
    pub fn parse(text: &[u8]) -> Result<Self, ()> {
        let document = json::parse_object(text).map_err(drop)?;
        let published = document.get("keys").and_then(Value::as_array).ok_or(())?;
        let mut keys: Vec<Key> = Vec::new();
        let mut void = BTreeSet::new();
        for key in published.iter().filter_map(Key::read) {
            if keys.iter().any(|held| held.is_same(&key)) {
                continue;
            }
            if let Some(id) = &key.id
                && keys.iter().any(|held| held.id.as_ref() == Some(id))
            {
                void.insert(id.clone());
            }
            keys.push(key);
        }
        let usable = keys.iter().any(|key| key.id.as_ref().is_none_or(|id| !void.contains(id)));
        if usable { Ok(Self { keys, void }) } else { Err(()) }
    }

    /// Whether `id` selects a key, so that fetching the set again would be of no use.
    #[must_use]
    pub fn has(&self, id: Option<&str>) -> bool {
        // Without a `kid` the answer hangs on the number of keys, which an attacker must not make us ask for.
        id.is_none_or(|id| self.select(Some(id)).is_ok())
    }

    /// The one key that `id` means. The token's algorithm has no say in it: were it asked first, a forger could
    /// choose the key by choosing the algorithm.
    pub(super) fn select(&self, id: Option<&str>) -> Result<&Key, Refusal> {
        match (id, self.keys.as_slice()) {
            (Some(id), _) if self.void.contains(id) => Err(Refusal::KeyAmbiguous),
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)).ok_or(Refusal::KeyUnknown),
            (None, [only]) => Ok(only),
            (None, _) => Err(Refusal::KeyAmbiguous),
        }
    }
}

/// The `y` of the points of Ed25519 whose order divides 8, little endian, the two spellings above the field's prime
/// included. Under such a key anybody can sign (RFC 8032 §8.9 leaves it to the verifier to look).
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn is_of_small_order(x: &[u8]) -> bool {
    let mut y = x.to_vec();
    // The highest bit is the sign of the other coordinate.
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    SMALL_ORDER.contains(&HEXLOWER.encode(&y).as_str())
}

fn without_leading_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    bytes
}

/// The bits of a number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    let first = number.first().map_or(0, |first| first.leading_zeros());
    number.len().saturating_mul(8).saturating_sub(usize::try_from(first).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::support::signer::TestKey;

    fn parse(keys: &[Value]) -> Result<KeySet, ()> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
        jwk[name] = value.into();
        jwk
    }

    fn encoded(bytes: &[u8]) -> String {
        BASE64URL_NOPAD.encode(bytes)
    }

    #[test]
    fn a_key_that_is_broken_or_not_for_verifying_is_left_out_and_spoils_nothing() {
        let (ec, p384, ed25519, rsa) =
            (TestKey::p256("k1"), TestKey::p384("k1"), TestKey::ed25519("k1"), TestKey::rsa("k1"));
        let ec_with = |name: &str, value: Value| with(ec.jwk(), name, value);
        let without = |mut jwk: Value, name: &str| {
            jwk.as_object_mut().unwrap().remove(name);
            jwk
        };
        for bad in [
            json!(null),
            json!("k1"),
            json!({}),
            json!({"kty": "oct", "k": "AA", "kid": "k1"}),
            without(ec.jwk(), "kty"),
            without(ec.jwk(), "crv"),
            without(ec.jwk(), "x"),
            without(ec.jwk(), "y"),
            without(ed25519.jwk(), "x"),
            without(rsa.jwk(), "n"),
            without(rsa.jwk(), "e"),
            ec_with("kty", "ec".into()),
            ec_with("kty", "OKP".into()),
            ec_with("kty", "RSA".into()),
            ec_with("crv", "P-384".into()),
            ec_with("crv", "P-521".into()),
            ec_with("crv", "secp256k1".into()),
            ec_with("x", encoded(&[1; 31]).into()),
            ec_with("x", encoded(&[1; 33]).into()),
            ec_with("y", encoded(&[1; 31]).into()),
            ec_with("y", encoded(&[1; 33]).into()),
            ec_with("x", format!("{}=", encoded(&[1; 32])).into()),
            ec_with("use", "enc".into()),
            ec_with("use", "SIG".into()),
            ec_with("use", json!(1)),
            ec_with("use", json!(null)),
            ec_with("key_ops", json!(["sign"])),
            ec_with("key_ops", json!([])),
            ec_with("key_ops", json!("verify")),
            ec_with("alg", "ES384".into()),
            ec_with("alg", "RS256".into()),
            ec_with("alg", "ECDH-ES".into()),
            ec_with("alg", json!(null)),
            ec_with("kid", json!(1)),
            ec_with("kid", json!(null)),
            with(p384.jwk(), "y", encoded(&[1; 32])),
            with(p384.jwk(), "x", encoded(&[1; 49])),
            with(ed25519.jwk(), "x", encoded(&[1; 31])),
            with(ed25519.jwk(), "crv", "X25519"),
            with(rsa.jwk(), "alg", "ES256"),
            with(rsa.jwk(), "alg", "RSA-OAEP"),
        ] {
            assert!(parse(std::slice::from_ref(&bad)).is_err(), "{bad}");
            let set = parse(&[bad.clone(), rsa.jwk(), bad.clone()]).unwrap();
            assert!(set.select(None).is_ok(), "{bad}");
        }
        for good in [
            with(ec.jwk(), "key_ops", json!(["verify"])),
            with(ec.jwk(), "key_ops", json!(["sign", "verify"])),
            with(ec.jwk(), "alg", "ES256"),
            without(ec.jwk(), "use"),
            without(ec.jwk(), "kid"),
            without(rsa.jwk(), "use"),
            p384.jwk(),
            ed25519.jwk(),
        ] {
            assert!(parse(std::slice::from_ref(&good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn an_rsa_key_has_2048_to_8192_bits() {
        let modulus = |first: &[u8], rest: usize| {
            let bytes = [first, vec![1; rest].as_slice()].concat();
            parse(&[with(TestKey::rsa("k1").jwk(), "n", encoded(&bytes))])
        };
        assert!(modulus(&[0x7f], 255).is_err(), "2047 bits");
        assert!(modulus(&[0x80], 255).is_ok(), "2048 bits");
        assert!(modulus(&[0, 0, 0x7f], 255).is_err(), "2047 bits after zeros");
        assert!(modulus(&[0, 0, 0x80], 255).is_ok(), "2048 bits after zeros");
        assert!(modulus(&[0xff], 1_023).is_ok(), "8192 bits");
        assert!(modulus(&[1], 1_024).is_err(), "8193 bits");
        assert!(modulus(&[], 0).is_err() && modulus(&[0], 0).is_err(), "nothing");
    }

    #[test]
    fn rsa_exponents_that_prove_nothing_make_a_key_unusable() {
        let exponent = |bytes: &[u8]| parse(&[with(TestKey::rsa("k1").jwk(), "e", encoded(bytes))]);
        for bad in [&[][..], &[0], &[0, 0, 0], &[1], &[0, 1], &[2], &[1, 0, 0], &[1, 0, 1, 0, 1, 1]] {
            assert!(exponent(bad).is_err(), "{bad:?}");
        }
        for good in [&[3][..], &[1, 0, 1], &[0, 1, 0, 1], &[1, 0, 0, 0, 1]] {
            assert!(exponent(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn ed25519_keys_under_which_anybody_could_sign_are_unusable() {
        for point in SMALL_ORDER {
            let mut point = HEXLOWER.decode(point.as_bytes()).unwrap();
            for sign in [0, 0x80] {
                *point.last_mut().unwrap() |= sign;
                assert!(parse(&[with(TestKey::ed25519("k1").jwk(), "x", encoded(&point))]).is_err(), "{point:?}");
            }
        }
        assert!(parse(&[TestKey::ed25519("k1").jwk()]).is_ok());
    }

    #[test]
    fn identical_entries_collapse_and_two_keys_under_one_id_void_it() {
        let (one, other, single) = (TestKey::p256("k1"), TestKey::p256("k1"), TestKey::p256("k2"));
        let same = parse(&[one.jwk(), one.jwk()]).unwrap();
        assert!(same.select(Some("k1")).is_ok() && same.select(None).is_ok());

        let twins = parse(&[one.jwk(), other.jwk(), one.jwk(), single.jwk()]).unwrap();
        assert_eq!(twins.select(Some("k1")).err(), Some(Refusal::KeyAmbiguous));
        assert!(twins.select(Some("k2")).is_ok());
        assert_eq!(twins.select(None).err(), Some(Refusal::KeyAmbiguous));
        assert!(parse(&[one.jwk(), other.jwk()]).is_err(), "nothing is left that could verify");
        let bound = with(one.jwk(), "alg", "ES256");
        assert!(parse(&[one.jwk(), bound]).is_err(), "the same key on other terms is another entry");
    }

    #[test]
    fn only_an_id_that_selects_a_key_is_worth_no_fetch() {
        let (one, other) = (TestKey::p256("k1"), TestKey::p256("k1"));
        let set = parse(&[one.jwk(), other.jwk(), TestKey::p256("k2").jwk()]).unwrap();
        assert!(set.has(Some("k2")) && !set.has(Some("k1")) && !set.has(Some("k3")));
        assert!(set.has(None), "strangers without a `kid` must not make us fetch");
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for text in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
            assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn every_algorithm_is_found_by_its_name_alone() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
        for name in ["none", "HS256", "ES512", "ES256K", "Ed25519", "rs256", ""] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
