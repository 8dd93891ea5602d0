//! Notes on a call while it runs, for the audit log.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    auth::Principal,
    model::{Month, OrganizationId, TenantId},
    service::policy::{AuditField, Rpc},
};

#[derive(Clone)]
pub(in crate::service) struct Notes {
    rpc: Rpc,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Default)]
pub(super) struct Noted {
    pub(super) subject: String,
    pub(super) client_id: String,
    pub(super) organization: String,
    pub(super) tenant: String,
    pub(super) month: String,
    pub(super) internal_detail: String,
    pub(super) rows: u64,
}

impl Notes {
    pub(super) fn new(rpc: Rpc) -> Self {
        Self { rpc, noted: Arc::default() }
    }

    pub(super) fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a field, where the RPC's policy lists it.
    fn note(&self, field: AuditField, note: impl FnOnce(&mut Noted)) {
        let is_listed = self.rpc.audit_fields().contains(&field);
        debug_assert!(is_listed, "{field:?} is not in the policy of {}", self.rpc.name());
        if is_listed {
            note(&mut self.noted());
        }
    }

    pub(in crate::service) fn principal(&self, principal: &Principal) {
        let mut noted = self.noted();
        principal.subject().clone_into(&mut noted.subject);
        principal.client_id().unwrap_or_default().clone_into(&mut noted.client_id);
    }

    /// What the answer does not say.
    pub(in crate::service) fn internal_detail(&self, detail: impl Display) {
        self.noted().internal_detail = detail.to_string();
    }

    pub(in crate::service) fn organization(&self, id: OrganizationId) {
        self.note(AuditField::Organization, |noted| noted.organization = id.to_string());
    }

    pub(in crate::service) fn tenant(&self, id: TenantId) {
        self.note(AuditField::Tenant, |noted| noted.tenant = id.to_string());
    }

    pub(in crate::service) fn months(&self, start: Month, end: Month) {
        let months = if start == end { start.to_string() } else { format!("{start} to {end}") };
        self.note(AuditField::Month, |noted| noted.month = months);
    }

    pub(in crate::service) fn add_rows(&self, rows: usize) {
        self.note(AuditField::Rows, |noted| noted.rows += rows as u64);
    }
}
