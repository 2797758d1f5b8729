//! Which keys does an issuer publish, and which of them may verify this token?
//!
//! A JSON Web Key Set (RFC 7517) is read key by key, since providers publish keys that are not for us beside those
//! that are. jsonwebtoken checks neither `use`, `key_ops`, `alg`, `crv` nor the size of an RSA key: all of it is here.

use std::collections::BTreeSet;
use std::mem::discriminant;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::skipped_keys::{SkipReason, SkippedKey};
use super::{FetchError, TokenError};
use crate::read::json;

/// Shorter RSA keys are within reach of a determined attacker (NIST SP 800-131A rev. 2).
const MIN_RSA_BITS: usize = 2048;
/// The longest modulus that the verifying library accepts.
const MAX_RSA_BITS: usize = 8192;
/// A public exponent of more bytes is no real key; it makes each verification slow.
const MAX_RSA_EXPONENT_BYTES: usize = 5;

/// Zero bytes that a coordinate may lack. One key in 2^31 lacks more; what is shorter belongs to another curve.
const MAX_ZEROS_CUT: usize = 4;

/// An asymmetric signature algorithm, by its JOSE name (RFC 7518 §3.1, RFC 8037 §3.1). There is no variant for
/// `none` or for HMAC, so neither can be configured, selected or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// The members of a published key. One that is `null` is absent: some providers write every member that they know.
#[derive(Clone, Copy)]
struct Jwk<'a>(&'a Map<String, Value>);

impl<'a> Jwk<'a> {
    fn of(published: &'a Value) -> Option<Self> {
        published.as_object().map(Self)
    }

    fn member(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A member that is a string where it is present.
    fn text(self, name: &str, otherwise: SkipReason) -> Result<Option<&'a str>, SkipReason> {
        self.member(name).map(|value| value.as_str().ok_or(otherwise)).transpose()
    }

    fn bytes(self, name: &str) -> Result<Vec<u8>, SkipReason> {
        let text = self.member(name).and_then(Value::as_str).ok_or(SkipReason::ValueMalformed)?;
        decode(text).ok_or(SkipReason::ValueMalformed)
    }

    /// A big-endian number without the zeros before it, which providers write too many or too few of.
    fn number(self, name: &str) -> Result<Vec<u8>, SkipReason> {
        let mut bytes = self.bytes(name)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.drain(..zeros);
        Ok(bytes)
    }

    /// A coordinate of a curve, brought to the one length that RFC 7518 §6.2.1.2 allows. Libraries that print a number
    /// cut its zeros off, which concerns one key in 128 on each curve; others put one before it, as a sign.
    fn coordinate(self, name: &str, length: usize) -> Result<Vec<u8>, SkipReason> {
        let number = self.number(name)?;
        let zeros = length.checked_sub(number.len()).filter(|zeros| *zeros <= MAX_ZEROS_CUT);
        Ok([vec![0; zeros.ok_or(SkipReason::CoordinateLength)?], number].concat())
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
    fn read(jwk: Jwk<'_>) -> Result<Self, SkipReason> {
        let kind = (jwk.text("kty", SkipReason::TypeUnsupported)?, jwk.text("crv", SkipReason::TypeUnsupported)?);
        match kind {
            (Some("RSA"), _) => {
                let (modulus, exponent) = (jwk.number("n")?, jwk.number("e")?);
                if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits(&modulus)) {
                    return Err(SkipReason::RsaSize);
                }
                let sound = (1..=MAX_RSA_EXPONENT_BYTES).contains(&exponent.len())
                    // An even exponent has no inverse; with 1 the "signature" is the message itself.
                    && exponent.last().is_some_and(|last| last % 2 == 1)
                    && exponent != [1];
                if sound { Ok(Self::Rsa { modulus, exponent }) } else { Err(SkipReason::RsaExponent) }
            }
            (Some("EC"), Some("P-256")) => Ok(Self::P256 { x: jwk.coordinate("x", 32)?, y: jwk.coordinate("y", 32)? }),
            (Some("EC"), Some("P-384")) => Ok(Self::P384 { x: jwk.coordinate("x", 48)?, y: jwk.coordinate("y", 48)? }),
            (Some("OKP"), Some("Ed25519")) => {
                // Bytes, not a number (RFC 8032 §5.1.2): a zero more or less is another key.
                let x = jwk.bytes("x")?;
                if x.len() != 32 {
                    return Err(SkipReason::CoordinateLength);
                }
                if is_of_small_order(&x) { Err(SkipReason::SmallOrder) } else { Ok(Self::Ed25519 { x }) }
            }
            (Some("oct"), _) => Err(SkipReason::OtherPurpose),
            _ => Err(SkipReason::TypeUnsupported),
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

/// One usable entry of a set. One key may have several, for an algorithm each.
#[derive(Debug)]
struct Key {
    id: Option<String>,
    material: Material,
    algorithm: Option<Algorithm>,
    decoding: DecodingKey,
}

impl Key {
    /// Reads a key that may verify signatures.
    fn read(published: &Value) -> Result<Self, SkipReason> {
        let jwk = Jwk::of(published).ok_or(SkipReason::NotAnObject)?;
        let id = jwk.text("kid", SkipReason::KeyIdMalformed)?.map(str::to_owned);
        if jwk.text("use", SkipReason::OtherPurpose)?.is_some_and(|purpose| purpose != "sig") {
            return Err(SkipReason::OtherPurpose);
        }
        if let Some(operations) = jwk.member("key_ops")
            && !operations.as_array().is_some_and(|several| several.iter().any(|operation| operation == "verify"))
        {
            return Err(SkipReason::OtherPurpose);
        }
        let material = Material::read(jwk)?;
        let algorithm = match jwk.text("alg", SkipReason::AlgorithmUnsupported)? {
            None => None,
            Some(name) => Some(Algorithm::named(name).ok_or(SkipReason::AlgorithmUnsupported)?),
        };
        if algorithm.is_some_and(|algorithm| !material.fits(algorithm)) {
            return Err(SkipReason::AlgorithmMismatch);
        }
        let decoding = material.for_library();
        Ok(Self { id, material, algorithm, decoding })
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.id, &self.material, self.algorithm) == (&other.id, &other.material, other.algorithm)
    }

    /// Whether both have one `kid` and one type and are different keys: which of them is meant, nobody can know.
    fn contradicts(&self, other: &Self) -> bool {
        self.id.is_some()
            && self.id == other.id
            && discriminant(&self.material) == discriminant(&other.material)
            && self.material != other.material
    }

    fn serves(&self, algorithm: Algorithm) -> bool {
        self.material.fits(algorithm) && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

/// The one key that a token's header means, for the algorithm that the header names.
// INVARIANT: the key serves the algorithm. Only `KeySet::select` makes one.
pub(super) struct Selected<'a> {
    key: &'a Key,
    algorithm: Algorithm,
}

impl Selected<'_> {
    /// Verifies `signature` (base64url) over `input`.
    pub(super) fn verify(self, input: &str, signature: &str) -> Result<(), TokenError> {
        let Self { key, algorithm } = self;
        match jsonwebtoken::crypto::verify(signature, input.as_bytes(), &key.decoding, algorithm.of_library()) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TokenError::SignatureInvalid),
        }
    }
}

/// The usable keys that one issuer publishes.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// A set that verifies no token.
    pub(super) const fn none() -> Self {
        Self { keys: Vec::new() }
    }

    /// Reads a set. Keys that are broken, or not for verifying signatures, are left out.
    ///
    /// # Errors
    /// [`FetchError`] if the text is not a key set, or no key in it is usable.
    pub fn parse(text: &[u8]) -> Result<Self, FetchError> {
        let (set, _) = Self::read(text)?;
        set.or_unusable()
    }

    /// Reads a set, which may turn out to be empty, and the keys that are not used.
    pub(super) fn read(text: &[u8]) -> Result<(Self, BTreeSet<SkippedKey>), FetchError> {
        let document = json::parse_fetched_object(text).map_err(|_| FetchError::KeySetMalformed)?;
        let published = document.get("keys").and_then(Value::as_array).ok_or(FetchError::KeySetMalformed)?;
        let mut keys: Vec<Key> = Vec::new();
        let mut skipped = BTreeSet::new();
        for entry in published {
            match Key::read(entry) {
                Ok(key) if keys.iter().any(|held| held.is_same(&key)) => {}
                Ok(key) => keys.push(key),
                Err(reason) => {
                    let id = Jwk::of(entry).and_then(|jwk| jwk.member("kid")).and_then(Value::as_str);
                    skipped.insert(SkippedKey::new(id, reason));
                }
            }
        }
        let set = Self { keys };
        let void = set.keys.iter().filter(|key| set.is_void(key));
        skipped.extend(void.map(|key| SkippedKey::new(key.id.as_deref(), SkipReason::SharedId)));
        Ok((set, skipped))
    }

    /// The set, if any key in it can be selected.
    pub(super) fn or_unusable(self) -> Result<Self, FetchError> {
        let is_usable = self.keys.iter().any(|key| !self.is_void(key));
        if is_usable { Ok(self) } else { Err(FetchError::NoUsableKey) }
    }

    fn is_void(&self, key: &Key) -> bool {
        self.keys.iter().any(|other| key.contradicts(other))
    }

    /// Whether `id` selects a key for this algorithm, so that fetching the set again would be of no use.
    #[must_use]
    pub fn has(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        // Without a `kid` the answer hangs on the number of keys, which an attacker must not make us ask for.
        id.is_none() || self.select(id, algorithm).is_ok()
    }

    /// The one key that a header with `id` and `algorithm` means.
    ///
    /// The algorithm is the forger's to choose. So it tells apart only keys of several types that the issuer publishes
    /// under this very `id` (RFC 7517 §4.5). Without an `id` it has no say: all that is published must be one key.
    pub(super) fn select(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Selected<'_>, TokenError> {
        let is_named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let is_meant = |key: &&Key| is_named(key) && (id.is_none() || key.material.fits(algorithm));
        let meant = || self.keys.iter().filter(is_meant);
        let Some(first) = meant().next() else {
            return Err(if self.keys.iter().any(|key| is_named(&key)) {
                TokenError::KeyMismatch
            } else {
                TokenError::KeyUnknown
            });
        };
        if meant().any(|key| key.material != first.material) {
            return Err(TokenError::KeyAmbiguous);
        }
        let key = meant().find(|key| key.serves(algorithm)).ok_or(TokenError::KeyMismatch)?;
        Ok(Selected { key, algorithm })
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

/// Decodes base64url, as RFC 7518 §6 asks for, or plain base64; padded or not. An alphabet of both is neither.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len().saturating_sub(digits.len());
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    [BASE64URL_NOPAD, BASE64_NOPAD].iter().find_map(|encoding| encoding.decode(digits.as_bytes()).ok())
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
    use hallpass_testing::signer::TestKey;

    fn set_of(keys: &[Value]) -> String {
        json!({ "keys": keys }).to_string()
    }

    fn parse(keys: &[Value]) -> Result<KeySet, FetchError> {
        KeySet::parse(set_of(keys).as_bytes())
    }

    fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
        jwk[name] = value.into();
        jwk
    }

    fn encoded(bytes: &[u8]) -> String {
        BASE64URL_NOPAD.encode(bytes)
    }

    fn decoded(jwk: &Value, name: &str) -> Vec<u8> {
        BASE64URL_NOPAD.decode(jwk[name].as_str().unwrap().as_bytes()).unwrap()
    }

    /// Why this key is left out.
    fn why(jwk: &Value) -> Option<SkipReason> {
        Key::read(jwk).err()
    }

    /// What a header with `kid` and `alg` selects.
    fn select(
        set: &KeySet,
        id: impl Into<Option<&'static str>>,
        algorithm: Algorithm,
    ) -> Result<&Material, TokenError> {
        set.select(id.into(), algorithm).map(|selected| &selected.key.material)
    }

    fn material(key: &TestKey) -> Material {
        Key::read(&key.jwk()).unwrap().material
    }

    #[test]
    fn a_key_that_is_broken_or_not_for_verifying_is_left_out_and_spoils_nothing() {
        use SkipReason::*;
        let (ec, p384, ed25519, rsa) =
            (TestKey::p256("k1"), TestKey::p384("k1"), TestKey::ed25519("k1"), TestKey::rsa("k1"));
        let ec_with = |name: &str, value: Value| with(ec.jwk(), name, value);
        let without = |mut jwk: Value, name: &str| {
            jwk.as_object_mut().unwrap().remove(name);
            jwk
        };
        for (bad, reason) in [
            (json!(null), NotAnObject),
            (json!("k1"), NotAnObject),
            (json!({}), TypeUnsupported),
            (json!({"kty": "oct", "k": "AA", "kid": "k1"}), OtherPurpose),
            (without(ec.jwk(), "kty"), TypeUnsupported),
            (without(ec.jwk(), "crv"), TypeUnsupported),
            (without(ec.jwk(), "x"), ValueMalformed),
            (without(ec.jwk(), "y"), ValueMalformed),
            (without(ed25519.jwk(), "x"), ValueMalformed),
            (without(rsa.jwk(), "n"), ValueMalformed),
            (without(rsa.jwk(), "e"), ValueMalformed),
            (ec_with("kty", "ec".into()), TypeUnsupported),
            (ec_with("kty", "OKP".into()), TypeUnsupported),
            (ec_with("kty", "RSA".into()), ValueMalformed),
            (ec_with("kty", json!(["EC"])), TypeUnsupported),
            (ec_with("crv", "P-384".into()), CoordinateLength),
            (ec_with("crv", "P-521".into()), TypeUnsupported),
            (ec_with("crv", "secp256k1".into()), TypeUnsupported),
            (ec_with("crv", json!(256)), TypeUnsupported),
            (ec_with("x", encoded(&[1; 27]).into()), CoordinateLength),
            (ec_with("x", encoded(&[1; 33]).into()), CoordinateLength),
            (ec_with("y", encoded(&[1; 33]).into()), CoordinateLength),
            (ec_with("x", json!([])), ValueMalformed),
            (ec_with("use", "enc".into()), OtherPurpose),
            (ec_with("use", "SIG".into()), OtherPurpose),
            (ec_with("use", json!(1)), OtherPurpose),
            (ec_with("key_ops", json!(["sign"])), OtherPurpose),
            (ec_with("key_ops", json!([])), OtherPurpose),
            (ec_with("key_ops", json!("verify")), OtherPurpose),
            (ec_with("alg", "ES384".into()), AlgorithmMismatch),
            (ec_with("alg", "RS256".into()), AlgorithmMismatch),
            (ec_with("alg", "ECDH-ES".into()), AlgorithmUnsupported),
            (ec_with("alg", json!(1)), AlgorithmUnsupported),
            (ec_with("kid", json!(1)), KeyIdMalformed),
            (with(p384.jwk(), "y", encoded(&[1; 32])), CoordinateLength),
            (with(p384.jwk(), "x", encoded(&[1; 49])), CoordinateLength),
            (with(ed25519.jwk(), "x", encoded(&[1; 31])), CoordinateLength),
            (with(ed25519.jwk(), "x", encoded(&[&[0], [1; 32].as_slice()].concat())), CoordinateLength),
            (with(ed25519.jwk(), "crv", "X25519"), TypeUnsupported),
            (with(rsa.jwk(), "alg", "ES256"), AlgorithmMismatch),
            (with(rsa.jwk(), "alg", "RSA-OAEP"), AlgorithmUnsupported),
        ] {
            assert_eq!(why(&bad), Some(reason), "{bad}");
            assert_eq!(parse(std::slice::from_ref(&bad)).err(), Some(FetchError::NoUsableKey), "{bad}");
            let set = parse(&[bad.clone(), rsa.jwk(), bad.clone()]).unwrap();
            assert!(set.select(None, Algorithm::RS256).is_ok(), "{bad}");
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
            assert_eq!(why(&good), None, "{good}");
        }
    }

    #[test]
    fn a_member_that_is_null_is_absent() {
        let ec = TestKey::p256("k1");
        for name in ["use", "key_ops", "alg", "kid", "x5c", "ext"] {
            assert_eq!(why(&with(ec.jwk(), name, json!(null))), None, "{name}");
        }
        for (name, reason) in [("x", SkipReason::ValueMalformed), ("crv", SkipReason::TypeUnsupported)] {
            assert_eq!(why(&with(ec.jwk(), name, json!(null))), Some(reason), "{name}");
        }
        let nameless = parse(&[with(ec.jwk(), "kid", json!(null))]).unwrap();
        assert!(select(&nameless, None, Algorithm::ES256).is_ok());
        assert_eq!(select(&nameless, "null", Algorithm::ES256), Err(TokenError::KeyUnknown));
        assert_eq!(KeySet::parse(br#"{"keys":null}"#).err(), Some(FetchError::KeySetMalformed));
    }

    #[test]
    fn every_key_that_is_left_out_is_named_with_its_reason() {
        let (one, other, enc) = (TestKey::p256("k1"), TestKey::p256("k1"), TestKey::rsa("enc"));
        let text = set_of(&[
            one.jwk(),
            json!(null),
            with(enc.jwk(), "use", "enc"),
            other.jwk(),
            TestKey::ed25519("k1").jwk(),
            with(one.jwk(), "kid", 7),
        ]);
        let (_, skipped) = KeySet::read(text.as_bytes()).unwrap();
        let expected = [
            SkippedKey::new(None, SkipReason::NotAnObject),
            SkippedKey::new(None, SkipReason::KeyIdMalformed),
            SkippedKey::new(Some("enc"), SkipReason::OtherPurpose),
            SkippedKey::new(Some("k1"), SkipReason::SharedId),
        ];
        assert_eq!(skipped, BTreeSet::from(expected));
        let (_, skipped) = KeySet::read(set_of(&[one.jwk(), one.jwk()]).as_bytes()).unwrap();
        assert!(skipped.is_empty());
    }

    #[test]
    fn coordinates_with_zeros_cut_off_or_put_in_front_are_the_same_key() {
        let key = TestKey::p256_beginning_with_zero("k1");
        let x = decoded(&key.jwk(), "x");
        assert_eq!((x[0], x.len()), (0, 32));
        let padded = |zeros: usize| [vec![0; zeros], x.clone()].concat();
        for x in [x[1..].to_vec(), padded(1), padded(9)] {
            assert_eq!(Key::read(&with(key.jwk(), "x", encoded(&x))).unwrap().material, material(&key), "{x:?}");
        }
        assert_eq!(why(&with(key.jwk(), "x", encoded(&[1; 28]))), None, "four zeros cut off");
        let p384 = TestKey::p384("k1");
        let y = [vec![0], decoded(&p384.jwk(), "y")].concat();
        assert_eq!(Key::read(&with(p384.jwk(), "y", encoded(&y))).unwrap().material, material(&p384));
        for name in ["x", "y"] {
            for nothing in [&[][..], &[0], &[0; 32], &[0; 33]] {
                let bad = with(key.jwk(), name, encoded(nothing));
                assert_eq!(why(&bad), Some(SkipReason::CoordinateLength), "{bad}");
            }
        }
    }

    #[test]
    fn values_are_base64url_or_base64_padded_or_not_and_never_a_mixture() {
        // With each character that the two alphabets do not share, and with one, two and no bytes over.
        let forms = |bytes: &[u8]| {
            let url = data_encoding::BASE64URL.encode(bytes);
            let plain = data_encoding::BASE64.encode(bytes);
            [url.clone(), plain.clone(), url.replace('=', ""), plain.replace('=', "")]
        };
        for bytes in [&[0xfb, 0xff, 0xbf][..], &[0xfb, 0xff], &[0xff, 0xef, 0xff, 0xfe], &[], &[1, 2, 3]] {
            for form in forms(bytes) {
                assert_eq!(decode(&form).as_deref(), Some(bytes), "{form}");
            }
        }
        for bad in
            ["-+AA", "_/AA", "AA=", "AAA==", "AAAA=", "AAAA====", "=", "====", "A", "A===", "AB==", "AA==AA==", "AA\n"]
        {
            assert_eq!(decode(bad), None, "{bad}");
        }
        let rsa = TestKey::rsa("k1");
        for n in forms(&decoded(&rsa.jwk(), "n")) {
            assert_eq!(Key::read(&with(rsa.jwk(), "n", n)).unwrap().material, material(&rsa));
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
    fn identical_entries_collapse_and_two_keys_of_a_type_void_their_id() {
        let (one, other, single) = (TestKey::p256("k1"), TestKey::p256("k1"), TestKey::p256("k2"));
        let same = parse(&[one.jwk(), one.jwk()]).unwrap();
        assert!(select(&same, "k1", Algorithm::ES256).is_ok() && select(&same, None, Algorithm::ES256).is_ok());

        let twins = parse(&[one.jwk(), other.jwk(), one.jwk(), single.jwk()]).unwrap();
        assert_eq!(select(&twins, "k1", Algorithm::ES256), Err(TokenError::KeyAmbiguous));
        assert_eq!(select(&twins, "k2", Algorithm::ES256), Ok(&material(&single)));
        assert_eq!(select(&twins, None, Algorithm::ES256), Err(TokenError::KeyAmbiguous));
        assert_eq!(parse(&[one.jwk(), other.jwk()]).err(), Some(FetchError::NoUsableKey), "nothing could verify");

        // Not even the algorithm that each is for says which of them is meant.
        let (a, b) = (TestKey::rsa("k1"), TestKey::rsa("k1"));
        let apart = [with(a.jwk(), "alg", "RS256"), with(b.jwk(), "alg", "PS256"), single.jwk()];
        let apart = parse(&apart).unwrap();
        for algorithm in [Algorithm::RS256, Algorithm::PS256] {
            assert_eq!(select(&apart, "k1", algorithm), Err(TokenError::KeyAmbiguous), "{algorithm:?}");
        }
    }

    #[test]
    fn one_key_listed_for_several_algorithms_is_one_key_for_all_of_them() {
        use Algorithm::{PS256, PS384, RS256, RS384};
        let key = TestKey::rsa("k1");
        let listed = |algs: &[&str]| algs.iter().map(|alg| with(key.jwk(), "alg", *alg)).collect::<Vec<_>>();
        let bound = listed(&["RS256", "RS384", "PS256"]);
        for id in [Some("k1"), None] {
            let set = parse(&bound).unwrap();
            for algorithm in [RS256, RS384, PS256] {
                assert_eq!(select(&set, id, algorithm), Ok(&material(&key)), "{algorithm:?}");
            }
            assert_eq!(select(&set, id, PS384), Err(TokenError::KeyMismatch));
            let free = parse(&[bound.clone(), vec![key.jwk()]].concat()).unwrap();
            assert_eq!(select(&free, id, PS384), Ok(&material(&key)), "one entry is for all that fit");
        }
        // What another entry is for adds nothing: neither an encryption key nor one under another id.
        let for_ps256 = with(key.jwk(), "alg", "PS256");
        let strangers =
            [with(for_ps256.clone(), "use", "enc"), with(key.jwk(), "alg", "RSA-OAEP"), with(for_ps256, "kid", "k2")];
        let set = parse(&[listed(&["RS256"]), strangers.to_vec()].concat()).unwrap();
        assert_eq!(select(&set, "k1", RS256), Ok(&material(&key)));
        assert_eq!(select(&set, "k1", PS256), Err(TokenError::KeyMismatch));
    }

    #[test]
    fn keys_of_several_types_under_one_id_are_told_apart_by_the_algorithm() {
        let (rsa, p256, p384, ed25519) =
            (TestKey::rsa("k1"), TestKey::p256("k1"), TestKey::p384("k1"), TestKey::ed25519("k1"));
        let set = parse(&[&rsa, &p256, &p384, &ed25519].map(TestKey::jwk)).unwrap();
        for (key, algorithms) in [
            (&rsa, &[Algorithm::RS256, Algorithm::PS512][..]),
            (&p256, &[Algorithm::ES256]),
            (&p384, &[Algorithm::ES384]),
            (&ed25519, &[Algorithm::EdDSA]),
        ] {
            for algorithm in algorithms {
                assert_eq!(select(&set, "k1", *algorithm), Ok(&material(key)), "{algorithm:?}");
                assert_eq!(select(&set, None, *algorithm), Err(TokenError::KeyAmbiguous), "{algorithm:?}");
            }
        }
        // A type that is void voids no other.
        let set = parse(&[rsa.jwk(), p256.jwk(), TestKey::p256("k1").jwk()]).unwrap();
        assert_eq!(select(&set, "k1", Algorithm::RS256), Ok(&material(&rsa)));
        assert_eq!(select(&set, "k1", Algorithm::ES256), Err(TokenError::KeyAmbiguous));
        assert_eq!(select(&set, "k1", Algorithm::EdDSA), Err(TokenError::KeyMismatch));
    }

    #[test]
    fn a_forger_who_chooses_the_algorithm_reaches_no_key_of_another_id() {
        let (rsa, p256) = (TestKey::rsa("k1"), TestKey::p256("k2"));
        let set = parse(&[rsa.jwk(), p256.jwk()]).unwrap();
        assert_eq!(select(&set, "k1", Algorithm::ES256), Err(TokenError::KeyMismatch));
        assert_eq!(select(&set, "k2", Algorithm::RS256), Err(TokenError::KeyMismatch));
        assert_eq!(select(&set, "k3", Algorithm::RS256), Err(TokenError::KeyUnknown));
        for algorithm in Algorithm::ALL {
            assert_eq!(select(&set, None, algorithm), Err(TokenError::KeyAmbiguous), "{algorithm:?}");
        }
    }

    #[test]
    fn without_an_id_all_that_is_published_must_be_one_key() {
        let (key, other) = (TestKey::p256("k1"), TestKey::p256("k2"));
        let twice = parse(&[key.jwk(), with(key.jwk(), "kid", "k2"), with(key.jwk(), "kid", json!(null))]).unwrap();
        assert_eq!(select(&twice, None, Algorithm::ES256), Ok(&material(&key)), "under several names");
        assert_eq!(select(&twice, None, Algorithm::RS256), Err(TokenError::KeyMismatch));
        for second in [other.jwk(), TestKey::ed25519("k1").jwk(), with(other.jwk(), "kid", json!(null))] {
            let set = parse(&[key.jwk(), second]).unwrap();
            assert_eq!(select(&set, None, Algorithm::ES256), Err(TokenError::KeyAmbiguous));
        }
        // That one key is void does not mean that the other one is meant.
        let void = parse(&[key.jwk(), with(other.jwk(), "kid", "k1"), TestKey::ed25519("k3").jwk()]).unwrap();
        assert_eq!(select(&void, None, Algorithm::EdDSA), Err(TokenError::KeyAmbiguous));
    }

    #[test]
    fn only_a_header_that_selects_a_key_is_worth_no_fetch() {
        let (one, other) = (TestKey::p256("k1"), TestKey::p256("k1"));
        let set = parse(&[one.jwk(), other.jwk(), TestKey::p256("k2").jwk()]).unwrap();
        let has = |id| set.has(id, Algorithm::ES256);
        assert!(has(Some("k2")) && !has(Some("k1")) && !has(Some("k3")));
        assert!(!set.has(Some("k2"), Algorithm::RS256), "a key of another type may have come under this id");
        assert!(has(None), "strangers without a `kid` must not make us fetch");
    }

    #[test]
    fn what_is_not_a_key_set_is_refused() {
        for text in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>", "\u{feff}", "\u{feff}[]"] {
            assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(FetchError::KeySetMalformed), "{text}");
        }
        assert_eq!(KeySet::parse(br#"{"keys":[]}"#).err(), Some(FetchError::NoUsableKey));
        let marked = format!("\u{feff}{}", set_of(&[TestKey::p256("k1").jwk()]));
        assert!(KeySet::parse(marked.as_bytes()).is_ok());
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
