//! What holds for each RPC, one row an RPC: who may call it, which limit it counts against, what the audit log says of it
//! and whether it may be repeated. A test holds the rows to the contract.

mod rows;

use crate::auth::Role;
use rows::{POLICIES, SHORT_REQUEST};

const PACKAGE: &str = "secureconnect.reports.v1.";

/// The policy of an RPC.
#[derive(Debug)]
pub(super) struct Policy {
    /// Service and method, as OpenTelemetry has them (semantic conventions for RPC, `rpc.method`).
    full_name: &'static str,
    role: Role,
    class: CallClass,
    /// What handlers note for the audit log. Caller, outcome and times are noted of every call.
    audit_fields: &'static [AuditField],
    /// What a message of its request may have.
    request: MessageBounds,
    /// As the contract states it to clients.
    #[cfg_attr(not(test), expect(dead_code, reason = "for clients, who read it in the contract"))]
    idempotency: Idempotency,
}

/// What a message may have, whatever else is wrong with it: the rest is known once it is decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageBounds {
    pub(super) bytes: usize,
    /// The maximum number of elements of each of its lists.
    pub(super) lists: &'static [ListBound],
}

/// A list of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListBound {
    /// As errors name it.
    pub(super) name: &'static str,
    /// The numbers of the fields that lead to it.
    pub(super) path: &'static [u32],
    pub(super) max: usize,
    /// Whether its elements are numbers that may stand together, without keys of their own.
    pub(super) is_packed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Rpc {
    Known(&'static Policy),
    /// A path that a caller made up, or one of a later version.
    Unknown,
}

/// What a call takes of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallClass {
    /// A few short statements.
    Short,
    /// A stream that goes on for as long as its reader takes.
    Download,
    /// Database connections of its own, memory and disk.
    Import,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuditField {
    Organization,
    Tenant,
    Month,
    Rows,
}

/// `google.protobuf.MethodOptions.IdempotencyLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idempotency {
    NoSideEffects,
    /// The same request again changes nothing.
    Idempotent,
}

// === impl Rpc ===

impl Rpc {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        POLICIES.iter().map(Self::Known)
    }

    pub(super) fn of_path(path: &str) -> Self {
        let Some(full_name) = path.strip_prefix('/') else { return Self::Unknown };
        POLICIES.iter().find(|policy| policy.full_name == full_name).map_or(Self::Unknown, Self::Known)
    }

    /// Service and method, with the package. Paths are the caller's words, so only those of the contract are repeated.
    pub(super) fn full_name(self) -> &'static str {
        match self {
            Self::Known(policy) => policy.full_name,
            Self::Unknown => "_OTHER",
        }
    }

    /// Service and method, without the package.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Known(policy) => policy.full_name.strip_prefix(PACKAGE).unwrap_or(policy.full_name),
            Self::Unknown => "unknown",
        }
    }

    /// The role that a caller needs. `None`: the service answers UNIMPLEMENTED.
    pub(super) fn role(self) -> Option<Role> {
        match self {
            Self::Known(policy) => Some(policy.role),
            Self::Unknown => None,
        }
    }

    pub(super) fn class(self) -> CallClass {
        match self {
            Self::Known(policy) => policy.class,
            Self::Unknown => CallClass::Short,
        }
    }

    pub(super) fn request_bounds(self) -> MessageBounds {
        match self {
            Self::Known(policy) => policy.request,
            Self::Unknown => SHORT_REQUEST,
        }
    }

    pub(super) fn audit_fields(self) -> &'static [AuditField] {
        match self {
            Self::Known(policy) => policy.audit_fields,
            Self::Unknown => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};

    use super::*;
    use crate::contract::proto::DESCRIPTORS;

    #[test]
    fn every_rpc_of_the_contract_has_one_row_and_every_row_an_rpc() {
        let contract = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        let mut stated: Vec<_> = contract
            .file
            .iter()
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .flat_map(|(package, service)| {
                service.method.iter().map(move |method| {
                    let level = method.options.clone().unwrap_or_default().idempotency_level();
                    (format!("{package}.{}/{}", service.name(), method.name()), level)
                })
            })
            .collect();
        let mut rows: Vec<_> = POLICIES
            .iter()
            .filter(|policy| policy.full_name.starts_with(PACKAGE))
            .map(|policy| {
                let level = match policy.idempotency {
                    Idempotency::NoSideEffects => IdempotencyLevel::NoSideEffects,
                    Idempotency::Idempotent => IdempotencyLevel::Idempotent,
                };
                (policy.full_name.to_owned(), level)
            })
            .collect();
        stated.sort();
        rows.sort();
        assert_eq!(rows, stated);
    }

    /// The lists of a message, and of messages in it: names, and the numbers of the fields that lead there.
    fn lists_of(contract: &FileDescriptorSet, message: &str, name: &str, path: &[u32]) -> Vec<(String, Vec<u32>)> {
        let messages =
            contract.file.iter().flat_map(|file| file.message_type.iter().map(move |found| (file.package(), found)));
        let found = messages.into_iter().find(|(package, found)| format!(".{package}.{}", found.name()) == message);
        let (_, found) = found.expect("a message");
        let mut lists = Vec::new();
        for field in &found.field {
            let dot = if name.is_empty() { "" } else { "." };
            let name = format!("{name}{dot}{}", field.name());
            let path = [path, &[field.number().unsigned_abs()]].concat();
            if field.label() == prost_types::field_descriptor_proto::Label::Repeated {
                lists.push((name.clone(), path.clone()));
            }
            if field.r#type() == prost_types::field_descriptor_proto::Type::Message {
                lists.extend(lists_of(contract, field.type_name(), &name, &path));
            }
        }
        lists
    }

    #[test]
    fn every_list_of_a_request_has_a_bound() {
        let contract = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        let services = contract.file.iter().flat_map(|file| file.service.iter().map(move |service| (file, service)));
        for (file, service) in services {
            for method in &service.method {
                let rpc = Rpc::of_path(&format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                let bounds = rpc.request_bounds().lists.iter();
                let bounded: Vec<_> = bounds.map(|list| (list.name.to_owned(), list.path.to_vec())).collect();
                assert_eq!(bounded, lists_of(&contract, method.input_type(), "", &[]), "{}", method.name());
            }
        }
    }

    #[test]
    fn rpcs_are_found_by_their_paths() {
        for rpc in Rpc::all() {
            let found = Rpc::of_path(&format!("/{}", rpc.full_name()));
            assert_eq!((found.full_name(), found.class(), found.role()), (rpc.full_name(), rpc.class(), rpc.role()));
        }
        for path in
            ["", "/", "/secureconnect.reports.v1.", "/secureconnect.reports.v1.unknown", "/_OTHER", "/x/ListTenants"]
        {
            let rpc = Rpc::of_path(path);
            assert_eq!((rpc.name(), rpc.full_name(), rpc.role()), ("unknown", "_OTHER", None), "{path:?}");
        }
        let import = Rpc::of_path("/secureconnect.reports.v1.UsageImportService/ImportUsage");
        assert_eq!(import.name(), "UsageImportService/ImportUsage");
    }
}
