//! TLS for callers. Certificates may be replaced while the server runs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    server::{NoClientAuth, WebPkiClientVerifier},
};

use crate::{
    reload::{RELOAD_INTERVAL, Reloaded},
    tls::{authorities, certificates, private_key},
};

#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// PEM: the server's certificate, followed by intermediate certificates.
    pub certificate: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
    /// PEM: the authorities of client certificates; `None`: clients are not asked for one.
    pub client_authorities: Option<PathBuf>,
    /// Refuse connections without a client certificate.
    pub require_client_certificate: bool,
    /// How often the files are read.
    pub reload_interval: Duration,
}

// === impl TlsConfig ===

impl TlsConfig {
    /// TLS without client certificates.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_authorities: None,
            require_client_certificate: false,
            reload_interval: RELOAD_INTERVAL,
        }
    }

    /// Reads the files now and whenever they change. A connection keeps the certificate that it began with.
    pub(super) fn load(self) -> Result<Reloaded<ServerConfig>, String> {
        let mut files = vec![self.certificate.clone(), self.key.clone()];
        files.extend(self.client_authorities.clone());
        let interval = self.reload_interval;
        Reloaded::start("--tls-cert, --tls-key and --tls-client-ca", files, interval, move |contents| {
            self.build(contents)
        })
    }

    fn build(&self, contents: &[Vec<u8>]) -> Result<ServerConfig, String> {
        let chain = certificates(&self.certificate, &contents[0])?;
        let key = private_key(&self.key, &contents[1])?;
        let verifier = match &self.client_authorities {
            None => Arc::new(NoClientAuth),
            Some(path) => {
                let verifier = WebPkiClientVerifier::builder(Arc::new(authorities(path, &contents[2])?));
                let verifier =
                    if self.require_client_certificate { verifier } else { verifier.allow_unauthenticated() };
                verifier.build().map_err(|error| format!("{}: {error}", path.display()))?
            }
        };
        let config = ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key);
        let mut config =
            config.map_err(|error| format!("{} and {}: {error}", self.certificate.display(), self.key.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}
