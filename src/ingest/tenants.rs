//! The tenants that a delivery names, looked up as it names them: the catalog may have a million others.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use tokio::runtime::Handle;

use crate::{
    auth::TenantScope,
    model::TenantId,
    store::{ImportTenant, Store, StoreError},
};

/// So many ids that the catalog does not have are remembered.
const MAX_UNKNOWN: usize = 100_000;

/// The tenants that were found.
pub(super) struct Tenants {
    store: Store,
    scope: TenantScope,
    runtime: Handle,
    found: HashMap<TenantId, ImportTenant>,
    unknown: HashSet<TenantId>,
}

// === impl Tenants ===

impl Tenants {
    /// Looks tenants up on the runtime that runs this.
    pub(super) fn new(store: Store, scope: TenantScope) -> Self {
        Self { store, scope, runtime: Handle::current(), found: HashMap::new(), unknown: HashSet::new() }
    }

    /// Looks up those that are not known yet, and waits for the database: the runtime runs on other threads. The texts are
    /// those of rows that are not checked yet.
    ///
    /// # Errors
    ///
    /// The error of the store, as what [`io::Error`] is of.
    pub(super) fn look_up<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> io::Result<()> {
        let mut ids: Vec<TenantId> = Vec::new();
        let mut last = "";
        for text in texts.filter(|text| std::mem::replace(&mut last, text) != *text) {
            // Blanks around it are no part of it.
            let id = text.trim_ascii().parse().ok();
            ids.extend(id.filter(|id| !self.found.contains_key(id) && !self.unknown.contains(id)));
        }
        if ids.is_empty() {
            return Ok(());
        }
        ids.sort_unstable();
        ids.dedup();
        let found = self.runtime.block_on(self.store.import_tenants(&self.scope, &ids)).map_err(io::Error::other)?;
        self.found.extend(found);
        let room = MAX_UNKNOWN.saturating_sub(self.unknown.len());
        self.unknown.extend(ids.into_iter().filter(|id| !self.found.contains_key(id)).take(room));
        Ok(())
    }

    pub(super) fn get(&self, id: TenantId) -> Option<ImportTenant> {
        self.found.get(&id).copied()
    }
}

/// The error of the store that [`Tenants::look_up`] has met, if it is one.
pub(super) fn store_error(error: io::Error) -> Result<StoreError, io::Error> {
    error.downcast()
}
