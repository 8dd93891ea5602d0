//! Callers with client certificates instead of tokens. A file maps names in certificates to callers:
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
use x509_cert::{
    Certificate,
    attr::AttributeValue,
    der::{Decode as _, Tag, Tagged as _},
    ext::pkix::{SubjectAltName, name::GeneralName},
    name::Name,
};

use super::principal::{Principal, Role};
use crate::{model::OrganizationId, tls::is_in_force};

pub(super) struct CertificateCallers(Vec<Caller>);

struct Caller {
    name: CertificateName,
    principal: Principal,
}

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
    pub(super) fn from_toml(path: &Path, text: &[u8]) -> Result<Self, String> {
        let failed = |reason: String| format!("{}: {reason}", path.display());
        let text = std::str::from_utf8(text).map_err(|error| failed(error.to_string()))?;
        let file: File = toml::from_str(text).map_err(|error| failed(error.to_string()))?;
        let callers =
            file.certificates.into_iter().enumerate().map(|(index, entry)| {
                entry.caller().map_err(|reason| failed(format!("certificates[{index}]: {reason}")))
            });
        let callers: Vec<Caller> = callers.collect::<Result<_, _>>()?;
        for (index, caller) in callers.iter().enumerate() {
            if callers[..index].iter().any(|other| other.name == caller.name) {
                return Err(failed(format!("certificates[{index}]: {} occurs twice", caller.name.to_text())));
            }
        }
        Ok(Self(callers))
    }

    /// The first caller in the file whose name is in the certificate. The error lists the certificate's names.
    pub(super) fn find(&self, certificate: &CertificateDer<'_>) -> Result<Principal, String> {
        let parsed = Certificate::from_der(certificate).map_err(|_| "the certificate cannot be read")?;
        // A connection may outlive its certificate.
        if !is_in_force(&parsed.tbs_certificate.validity) {
            return Err("the certificate has expired or is not valid yet".to_owned());
        }
        let names = names(&parsed);
        let found = self.0.iter().find(|caller| names.contains(&caller.name));
        found.map(|caller| caller.principal.clone()).ok_or_else(|| {
            let names: Vec<_> = names.iter().map(CertificateName::to_text).collect();
            format!("no configured caller has this certificate: {}", names.join(", "))
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
            return Err("must have exactly one of dns, uri, email and subject".to_owned());
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

fn names(certificate: &Certificate) -> Vec<CertificateName> {
    let mut names = Vec::new();
    if let Ok(Some((_, SubjectAltName(alternatives)))) = certificate.tbs_certificate.get() {
        names.extend(alternatives.iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(CertificateName::Dns(name.as_str().to_ascii_lowercase())),
            GeneralName::UniformResourceIdentifier(name) => Some(CertificateName::Uri(name.to_string())),
            GeneralName::Rfc822Name(name) => Some(CertificateName::Email(name.to_string())),
            _ => None,
        }));
    }
    // Subjects in obsolete string types are ignored.
    names.extend(distinguished_name(&certificate.tbs_certificate.subject).map(CertificateName::Subject));
    names
}

/// A name as RFC 4514 writes it: the last part first, with the short names that it gives to attributes (section 3), and
/// numbers for all others.
fn distinguished_name(name: &Name) -> Option<String> {
    let mut parts = Vec::new();
    for part in &name.0 {
        let attributes = part.0.iter().map(|attribute| {
            let id = attribute.oid.to_string();
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
            Some(format!("{name}={}", escaped(text(&attribute.value)?)))
        });
        parts.push(attributes.collect::<Option<Vec<_>>>()?.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn text(value: &AttributeValue) -> Option<&str> {
    match value.tag() {
        Tag::NumericString | Tag::PrintableString | Tag::Utf8String | Tag::Ia5String => {
            std::str::from_utf8(value.value()).ok()
        }
        _ => None,
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::SystemTime;

    use rcgen::{
        CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, SanType, date_time_ymd,
    };

    use super::*;

    /// What `find` says of a self-signed certificate that no caller has.
    fn refused(change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        CertificateCallers(Vec::new()).find(certificate.der()).unwrap_err()
    }

    fn names_of(change: impl FnOnce(&mut CertificateParams)) -> String {
        refused(change).split_once(": ").unwrap().1.to_owned()
    }

    #[test]
    fn names_are_read_in_the_order_of_the_certificate_and_the_subject_last() {
        let found = names_of(|params| {
            params.subject_alt_names = vec![
                SanType::URI("spiffe://provider.example/Billing".try_into().unwrap()),
                SanType::IpAddress([127, 0, 0, 1].into()),
                SanType::DnsName("Billing.Example".try_into().unwrap()),
                SanType::Rfc822Name("Billing@example".try_into().unwrap()),
            ];
            params.distinguished_name.push(DnType::CommonName, "billing");
        });
        let expected =
            "uri:spiffe://provider.example/Billing, dns:billing.example, email:Billing@example, subject:CN=billing";
        assert_eq!(found, expected);
    }

    #[test]
    fn a_subject_is_written_by_rfc_4514() {
        let found = names_of(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap()));
            name.push(DnType::OrganizationName, "Ünïcode, Inc.");
            name.push(
                DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]),
                DnValue::Ia5String("example".try_into().unwrap()),
            );
            name.push(DnType::CustomDnType(vec![1, 2, 3, 4]), " #1 ");
        });
        assert_eq!(found, r"subject:1.2.3.4=\ #1\ ,DC=example,O=Ünïcode\, Inc.,C=DE");
    }

    #[test]
    fn a_subject_in_an_old_character_set_is_no_name() {
        let found = |value| {
            refused(|params| {
                params.subject_alt_names = vec![SanType::DnsName("billing.example".try_into().unwrap())];
                params.distinguished_name.push(DnType::CommonName, value);
            })
        };
        for value in
            [DnValue::BmpString("billing".try_into().unwrap()), DnValue::TeletexString("billing".try_into().unwrap())]
        {
            assert!(found(value).ends_with(": dns:billing.example"));
        }
        // The library knows no such strings. RFC 5280 (section 4.1.2.4) lets nobody use them for new names.
        let universal = DnValue::UniversalString("billing".try_into().unwrap());
        assert_eq!(found(universal), "the certificate cannot be read");
    }

    #[test]
    fn a_certificate_is_taken_within_its_validity_only() {
        let found = |first, last| {
            refused(|params| {
                (params.not_before, params.not_after) = (first, last);
                params.distinguished_name.push(DnType::CommonName, "billing");
            })
        };
        let now = SystemTime::now().into();
        assert_eq!(
            found(date_time_ymd(1999, 1, 1), date_time_ymd(2001, 1, 1)),
            "the certificate has expired or is not valid yet"
        );
        assert_eq!(
            found(date_time_ymd(2900, 1, 1), date_time_ymd(9999, 12, 31)),
            "the certificate has expired or is not valid yet"
        );
        // The first second counts.
        assert!(found(now, date_time_ymd(9999, 12, 31)).ends_with("subject:CN=billing"));
    }

    #[test]
    fn alternative_names_that_cannot_be_read_are_none() {
        let found = names_of(|params| {
            // A sequence that claims more than there is.
            params.custom_extensions =
                vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x05, 0x82, 0x01])];
            params.distinguished_name.push(DnType::CommonName, "billing");
        });
        assert_eq!(found, "subject:CN=billing");
    }
}
