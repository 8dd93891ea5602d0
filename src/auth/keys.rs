//! The keys that tokens are verified with.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;

/// The accepted algorithms. All are asymmetric.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

#[derive(Default)]
pub(super) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A JWK set as it comes: each key is looked at alone, since one of an unknown kind must not cost the others.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

pub(super) fn is_accepted(algorithm: Algorithm) -> bool {
    ALGORITHMS.contains(&algorithm)
}

// === impl Keys ===

impl Keys {
    /// The keys of a JWK set (RFC 7517) that can verify signatures of the accepted algorithms, at least one.
    pub(super) fn from_jwks(json: &[u8]) -> Result<Self, String> {
        let set: KeySet = serde_json::from_slice(json).map_err(|error| format!("not a JWK set: {error}"))?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::from_json).collect();
        if keys.is_empty() {
            return Err("contains no key for RS256, ES256 or EdDSA signatures".to_owned());
        }
        Ok(Self(keys))
    }

    /// The keys that may have signed a token: those with its key id, or all keys if it has no key id.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let fits = |key: &&Key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id);
        self.0.iter().filter(fits).map(|key| key.key.clone()).collect()
    }
}

// === impl Key ===

impl Key {
    fn from_json(json: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        if jwk.common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
            return None;
        }
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return None,
        };
        // A key for one algorithm must not be used for another.
        if jwk.common.key_algorithm.is_some_and(|named| Algorithm::try_from(named).ok() != Some(algorithm)) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithm, key })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ED25519: &str = r#""kty": "OKP", "crv": "Ed25519", "x": "uWtSkE-I9aTMYTTvuTE1rtu0rNdxp3DU33cJ_ksL1Gk""#;
    const P256: &str = r#""kty": "EC", "crv": "P-256", "x": "w7JAoU_gJbZJvV-zCOvU9yFJq0FNC_edCMRM78P8eQQ",
        "y": "wQg1EytcsEmGrM70Gb53oluoDbVhCZ3Uq3hHMslHVb4""#;

    fn keys(keys: &str) -> Result<Keys, String> {
        Keys::from_jwks(format!(r#"{{"keys": [{keys}]}}"#).as_bytes())
    }

    #[test]
    fn a_key_is_found_by_its_id_and_for_its_algorithm_only() {
        let keys = keys(&format!(
            r#"{{"kty": "new", "kid": "a"}}, {{{ED25519}, "kid": "a", "alg": "EdDSA", "use": "sig"}}, {{{P256}, "kid": "b", "key_ops": ["verify", "sign"]}}"#
        ))
        .unwrap();
        assert_eq!(keys.find(Some("a"), Algorithm::EdDSA).len(), 1);
        assert_eq!(keys.find(Some("b"), Algorithm::ES256).len(), 1);
        assert_eq!(keys.find(None, Algorithm::ES256).len(), 1);
        for (id, algorithm) in [("a", Algorithm::ES256), ("b", Algorithm::EdDSA), ("c", Algorithm::EdDSA)] {
            assert!(keys.find(Some(id), algorithm).is_empty(), "{id} {algorithm:?}");
        }
        assert!(keys.find(None, Algorithm::RS256).is_empty());
    }

    #[test]
    fn keys_for_other_purposes_are_left_out() {
        for key in [
            format!(r#"{{{ED25519}, "use": "enc"}}"#),
            format!(r#"{{{ED25519}, "key_ops": []}}"#),
            format!(r#"{{{ED25519}, "key_ops": ["sign"]}}"#),
            format!(r#"{{{ED25519}, "use": "sig", "key_ops": ["encrypt", "wrapKey"]}}"#),
            format!(r#"{{{ED25519}, "alg": "ES256"}}"#),
            format!(r#"{{{P256}, "alg": "ES384"}}"#),
            r#"{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}"#.to_owned(),
            String::new(),
        ] {
            assert!(keys(&key).is_err_and(|error| error.contains("contains no key")), "{key}");
        }
        assert!(Keys::from_jwks(b"<html>").is_err_and(|error| error.contains("not a JWK set")));
    }
}
