//! Client certificates that stand in for tokens. A file says which names mean which caller:
//!
//! ```toml
//! [[certificates]]
//! uri = "spiffe://provider.example/billing"    # or dns = ..., email = ..., subject = "CN=billing,O=Provider"
//! roles = ["Reports"]
//! organizations = ["6b0e7a52-91f1-4b2c-a5e2-5ba3e2a7d701"]
//! ```

use std::path::Path;

use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
    x509::X509Name,
};

use super::principal::{Principal, Role};
use crate::model::OrganizationId;

/// The callers that certificates stand for.
pub(super) struct CertificateCallers(Vec<Caller>);

struct Caller {
    name: CertificateName,
    principal: Principal,
}

/// A name that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CertificateName {
    Dns(String),
    Uri(String),
    Email(String),
    /// The whole subject, as RFC 4514 writes it.
    Subject(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    certificates: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dns: Option<String>,
    uri: Option<String>,
    email: Option<String>,
    subject: Option<String>,
    roles: Vec<String>,
    organizations: Vec<String>,
}

// === impl CertificateCallers ===

impl CertificateCallers {
    pub(super) fn from_toml(place: &Path, text: &[u8]) -> Result<Self, String> {
        let failed = |reason: String| format!("{}: {reason}", place.display());
        let text = std::str::from_utf8(text).map_err(|error| failed(error.to_string()))?;
        let file: File = toml::from_str(text).map_err(|error| failed(error.to_string()))?;
        let callers =
            file.certificates.into_iter().enumerate().map(|(index, entry)| {
                entry.caller().map_err(|reason| failed(format!("certificates[{index}]: {reason}")))
            });
        let callers: Vec<Caller> = callers.collect::<Result<_, _>>()?;
        for (index, caller) in callers.iter().enumerate() {
            if callers[..index].iter().any(|other| other.name == caller.name) {
                return Err(failed(format!("certificates[{index}]: {} is there twice", caller.name.to_text())));
            }
        }
        Ok(Self(callers))
    }

    /// The caller that a certificate is for, the first in the file's order. The error lists the certificate's names.
    pub(super) fn find(&self, certificate: &CertificateDer<'_>) -> Result<Principal, String> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| "not one that can be read")?;
        // A connection may outlive the certificate that it was made with.
        if !parsed.validity().is_valid() {
            return Err("out of date".to_owned());
        }
        let names = names(&parsed);
        let found = self.0.iter().find(|caller| names.contains(&caller.name));
        found.map(|caller| caller.principal.clone()).ok_or_else(|| {
            let names: Vec<_> = names.iter().map(CertificateName::to_text).collect();
            format!("for nobody who is known: {}", names.join(", "))
        })
    }
}

impl Entry {
    fn caller(self) -> Result<Caller, String> {
        let names: Vec<_> = [
            self.dns.map(|name| CertificateName::Dns(name.to_ascii_lowercase())),
            self.uri.map(CertificateName::Uri),
            self.email.map(CertificateName::Email),
            self.subject.map(CertificateName::Subject),
        ]
        .into_iter()
        .flatten()
        .collect();
        let [name] = names.as_slice() else {
            return Err("takes one of dns, uri, email and subject".to_owned());
        };
        for role in &self.roles {
            role.parse::<Role>().map_err(|error| format!("role {role:?}: {error}"))?;
        }
        for organization in self.organizations.iter().filter(|organization| *organization != "*") {
            let parsed = organization.parse::<OrganizationId>();
            parsed.map_err(|error| format!("organization {organization:?}: {error}"))?;
        }
        let principal = Principal::new(&name.to_text(), None, &self.roles, &self.organizations);
        Ok(Caller { name: name.clone(), principal })
    }
}

// === impl CertificateName ===

impl CertificateName {
    fn to_text(&self) -> String {
        match self {
            Self::Dns(name) => format!("dns:{name}"),
            Self::Uri(name) => format!("uri:{name}"),
            Self::Email(name) => format!("email:{name}"),
            Self::Subject(name) => format!("subject:{name}"),
        }
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<CertificateName> {
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        names.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(CertificateName::Dns(name.to_ascii_lowercase())),
            GeneralName::URI(name) => Some(CertificateName::Uri((*name).to_owned())),
            GeneralName::RFC822Name(name) => Some(CertificateName::Email((*name).to_owned())),
            _ => None,
        }));
    }
    // A subject in letters of old standards is no name here; the others are.
    names.extend(distinguished_name(certificate.subject()).map(CertificateName::Subject));
    names
}

/// A name as RFC 4514 writes it: the last part first, with the short names that it gives to attributes (section 3), and
/// numbers for all others.
fn distinguished_name(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.iter_rdn() {
        let attributes = part.iter().map(|attribute| {
            let id = attribute.attr_type().to_id_string();
            let name = match id.as_str() {
                "2.5.4.3" => "CN",
                "2.5.4.6" => "C",
                "2.5.4.7" => "L",
                "2.5.4.8" => "ST",
                "2.5.4.9" => "STREET",
                "2.5.4.10" => "O",
                "2.5.4.11" => "OU",
                "0.9.2342.19200300.100.1.1" => "UID",
                "0.9.2342.19200300.100.1.25" => "DC",
                other => other,
            };
            Some(format!("{name}={}", escaped(attribute.as_str().ok()?)))
        });
        parts.push(attributes.collect::<Option<Vec<_>>>()?.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

/// RFC 4514, section 2.4.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let at_an_end = (character == ' ' && (index == 0 || index == last)) || (character == '#' && index == 0);
        if at_an_end || matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}
