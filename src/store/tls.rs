//! TLS towards PostgreSQL, by libpq's modes: `require` encrypts, `verify-ca` also asks who has signed the server's
//! certificate, and `verify-full` asks whether it is that of the host, too.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls::{authorities, certificates, private_key, system_authorities};

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verification {
    /// Nothing: whoever stands in between can read along.
    Nothing,
    /// That a trusted authority has signed it.
    Authority,
    /// That, and that it is for the host that was asked for.
    AuthorityAndHost,
}

/// Whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// The authorities of this machine.
    System,
    /// Those of a PEM file.
    File(PathBuf),
}

/// A connection string's settings for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) verification: Verification,
    pub(super) roots: Option<Roots>,
    /// Certificate and key of this program, for servers that ask for them.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// Trusts the right authorities, whatever name a certificate has.
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

/// Trusts everyone.
#[derive(Debug)]
struct Anyone(CryptoProvider);

// === impl TlsSettings ===

impl TlsSettings {
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, String> {
        let builder = ClientConfig::builder();
        let builder = match (self.verification, &self.roots) {
            (Verification::Nothing, _) => {
                let anyone = Arc::new(Anyone(aws_lc_rs::default_provider()));
                builder.dangerous().with_custom_certificate_verifier(anyone)
            }
            (Verification::Authority, roots) => {
                let verifier = WebPkiServerVerifier::builder(Arc::new(load(roots.as_ref())?)).build();
                let any_host = AnyHost(verifier.map_err(|error| error.to_string())?);
                builder.dangerous().with_custom_certificate_verifier(Arc::new(any_host))
            }
            (Verification::AuthorityAndHost, roots) => builder.with_root_certificates(load(roots.as_ref())?),
        };
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate, &read(certificate)?)?;
                let loaded = builder.with_client_auth_cert(chain, private_key(key, &read(key)?)?);
                loaded.map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))?
            }
        };
        Ok(MakeRustlsConnect::new(config))
    }
}

fn load(roots: Option<&Roots>) -> Result<RootCertStore, String> {
    match roots {
        Some(Roots::System) => system_authorities(),
        Some(Roots::File(path)) => authorities(path, &read(path)?),
        None => Err("sslmode asks to verify the server's certificate, and nothing says who may have signed it: add \
                     sslrootcert=FILE, or sslrootcert=system"
            .to_owned()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last, when all else has been found right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
