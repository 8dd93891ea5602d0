//! Signatures of statements: Ed25519 (RFC 8032), of the 32 bytes of the digest.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sha2::{Digest as _, Sha256};

/// Signs statements. It does not print.
pub struct StatementKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// Verifies signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// A signature, and the key that it can be verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub key_id: String,
    pub bytes: [u8; 64],
}

/// A text is not a private key that statements can be signed with. It does not quote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a private key for Ed25519 in PEM (PKCS #8), as `openssl genpkey -algorithm ed25519` writes it")]
pub struct InvalidKey;

// === impl StatementKey ===

impl StatementKey {
    /// Reads PKCS #8 in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, InvalidKey> {
        use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| InvalidKey)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|_| InvalidKey)?;
        let public = PublicKey(pair.public_key().as_ref().try_into().map_err(|_| InvalidKey)?);
        Ok(Self { pair, public })
    }

    /// Makes a new key, in PEM.
    pub fn new_pem() -> std::io::Result<String> {
        let pair = Ed25519KeyPair::generate().map_err(std::io::Error::other)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(std::io::Error::other)?;
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")))
    }

    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub fn sign(&self, digest: &[u8; 32]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(digest).as_ref());
        Signature { key_id: self.public.id(), bytes }
    }
}

// === impl PublicKey ===

impl PublicKey {
    /// The SHA-256 thumbprint of the key as a JWK (RFC 7638), in base64url.
    pub fn id(self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.x())))
    }

    /// The key in base64url, as `x` of a JWK (RFC 8037).
    pub fn x(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The key from `x` of a JWK.
    pub fn from_x(x: &str) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(x).ok()?.try_into().ok()?))
    }

    pub fn verifies(self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(digest, signature).is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Of RFC 8037, appendix A; its thumbprint is in A.3.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn keys_are_named_by_their_thumbprints() {
        let key = StatementKey::from_pem(PEM).unwrap();
        assert_eq!(key.public().x(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.public().id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(PublicKey::from_x(&key.public().x()), Some(key.public()));
        assert_eq!(StatementKey::from_pem("-----BEGIN PRIVATE KEY-----\n").err(), Some(InvalidKey));
        let new = StatementKey::from_pem(&StatementKey::new_pem().unwrap()).unwrap();
        assert_ne!(new.public(), key.public());
    }

    #[test]
    fn a_signature_is_of_one_digest_and_one_key() {
        let key = StatementKey::from_pem(PEM).unwrap();
        let signature = key.sign(&[7; 32]);
        assert_eq!(signature.key_id, key.public().id());
        assert!(key.public().verifies(&[7; 32], &signature.bytes));
        assert!(!key.public().verifies(&[8; 32], &signature.bytes));
        let mut other = signature.bytes;
        other[63] ^= 1;
        assert!(!key.public().verifies(&[7; 32], &other));
        assert!(!PublicKey([1; 32]).verifies(&[7; 32], &signature.bytes));
    }
}
