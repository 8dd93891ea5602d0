//! A key of one's own, for development and demonstrations: it signs tokens as an issuer would. A server trusts it only
//! when it is started with the file of its public half.

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::{encoding::AsDer as _, encoding::Pkcs8V1Der, signature::Ed25519KeyPair};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode,
    jwk::{Jwk, JwkSet, ThumbprintHash},
};
use serde_json::json;

use super::principal::Role;

const KEY_FILE: &str = "signing-key.der";
const JWKS_FILE: &str = "jwks.json";

pub struct DevelopmentKey {
    key: EncodingKey,
    id: String,
    folder: PathBuf,
}

/// The claims of a token for development.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub issuer: String,
    pub audience: Vec<String>,
    pub subject: String,
    pub roles: Vec<Role>,
    /// Ids, or `*` for all.
    pub organizations: Vec<String>,
    /// How long the token is valid.
    pub lifetime: Duration,
}

// === impl DevelopmentKey ===

impl DevelopmentKey {
    /// Reads the key from a folder, or creates it there.
    pub fn open_or_create(folder: &Path) -> Result<Self, String> {
        let failed = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        let path = folder.join(KEY_FILE);
        if !path.exists() {
            create(&path).map_err(|error| failed(&path, &error))?;
        }
        let der = std::fs::read(&path).map_err(|error| failed(&path, &error))?;
        Ed25519KeyPair::from_pkcs8(&der).map_err(|error| failed(&path, &error))?;
        let key = EncodingKey::from_ed_der(&der);
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA).map_err(|error| failed(&path, &error))?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|error| failed(&path, &error))?;
        jwk.common.key_id = Some(id.clone());
        let jwks = serde_json::to_vec_pretty(&JwkSet { keys: vec![jwk] }).map_err(|error| failed(&path, &error))?;
        let public = folder.join(JWKS_FILE);
        if std::fs::read(&public).ok().as_deref() != Some(jwks.as_slice()) {
            replace(&public, &jwks, 0o644).map_err(|error| failed(&public, &error))?;
        }
        Ok(Self { key, id, folder: folder.to_owned() })
    }

    /// The file with the public key, for `serve --jwks`.
    pub fn jwks_file(&self) -> PathBuf {
        self.folder.join(JWKS_FILE)
    }

    pub fn mint(&self, request: &TokenRequest) -> Result<String, String> {
        let now = jsonwebtoken::get_current_timestamp();
        let claims = json!({
            "iss": request.issuer,
            "aud": request.audience,
            "sub": request.subject,
            "iat": now,
            "exp": now + request.lifetime.as_secs(),
            "roles": request.roles.iter().map(|role| role.name()).collect::<Vec<_>>(),
            "organizations": request.organizations,
        });
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &self.key).map_err(|error| error.to_string())
    }
}

/// Creates a key that only this account can read. Two programs that do this at once end up with the same key.
fn create(path: &Path) -> std::io::Result<()> {
    let pair = Ed25519KeyPair::generate().map_err(std::io::Error::other)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(std::io::Error::other)?;
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(der.as_ref())?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

fn replace(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
