//! TLS towards PostgreSQL, by libpq's modes: `require` encrypts, `verify-ca` also asks who has signed the server's
//! certificate, and `verify-full` asks whether it is that of the host, too.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::{Certificate, der::Decode as _};

use crate::tls::{authorities, certificates, is_in_force, private_key, system_authorities};

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

/// Trusts what the authorities have signed, and certificates that stand among them themselves, as libpq does: a
/// certificate that has signed itself is its own authority.
#[derive(Debug)]
struct Authorities {
    verifier: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
    /// Whether the certificate must be for the host.
    check_host: bool,
}

/// Trusts everyone: the connection is encrypted, and who is at its other end is not known.
#[derive(Debug)]
struct Anyone(CryptoProvider);

// === impl TlsSettings ===

impl TlsSettings {
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, String> {
        let builder = ClientConfig::builder();
        let verifier: Arc<dyn ServerCertVerifier> = match self.verification {
            Verification::Nothing => Arc::new(Anyone(aws_lc_rs::default_provider())),
            Verification::Authority => Arc::new(self.authorities(false)?),
            Verification::AuthorityAndHost => Arc::new(self.authorities(true)?),
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
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

    fn authorities(&self, check_host: bool) -> Result<Authorities, String> {
        let (roots, certificates) = match &self.roots {
            Some(Roots::System) => (system_authorities()?, Vec::new()),
            Some(Roots::File(path)) => {
                let pem = read(path)?;
                (authorities(path, &pem)?, certificates(path, &pem)?)
            }
            None => {
                return Err(
                    "sslmode asks to verify the server's certificate, and nothing says who may have signed it: \
                            add sslrootcert=FILE, or sslrootcert=system"
                        .to_owned(),
                );
            }
        };
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(|error| error.to_string())?;
        Ok(Authorities { verifier, certificates, check_host })
    }
}

/// Whether a certificate has signed itself, and is in force.
fn is_sound_authority(certificate: &CertificateDer<'_>) -> bool {
    Certificate::from_der(certificate).is_ok_and(|Certificate { tbs_certificate: certificate, .. }| {
        certificate.subject == certificate.issuer && is_in_force(&certificate.validity)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.iter().any(|trusted| trusted == end_entity) && is_sound_authority(end_entity) {
            if self.check_host {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when all else has been found right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_host => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
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

    // A signature would prove that the other end has the key of a certificate that nobody has looked at.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
