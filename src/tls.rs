//! Reads certificates, keys and certificate authorities.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
};
use x509_cert::time::Validity;

/// The certificates of a PEM text, at least one. `path` names it in errors.
pub fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| format!("{}: not PEM: {error}", path.display()))?;
    if certificates.is_empty() {
        return Err(format!("{}: contains no certificate (-----BEGIN CERTIFICATE-----)", path.display()));
    }
    Ok(certificates)
}

/// The first private key of a PEM text. Errors never quote its content.
pub fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        format!("{}: contains no private key without a password (-----BEGIN PRIVATE KEY-----)", path.display())
    })
}

/// The certificate authorities of a PEM text.
pub fn authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// The certificate authorities that this machine trusts.
pub fn system_authorities() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let cause = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!("this machine has no list of trusted certificate authorities{cause}"));
    }
    Ok(roots)
}

/// By whole seconds, of which the first and the last count (RFC 5280, section 4.1.2.5).
pub fn is_in_force(validity: &Validity) -> bool {
    let [first, last] = [validity.not_before, validity.not_after].map(|time| time.to_unix_duration().as_secs());
    (first..=last).contains(&UnixTime::now().as_secs())
}
