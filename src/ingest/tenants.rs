//! The tenants that a delivery names, looked up as it names them: the catalog may have a million others.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use tokio::{runtime::Handle, task::JoinHandle};

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
    /// Those that the database was asked for.
    asked: Vec<TenantId>,
    answer: Option<JoinHandle<Answer>>,
}

type Answer = Result<HashMap<TenantId, ImportTenant>, StoreError>;

// === impl Tenants ===

impl Tenants {
    /// Looks tenants up on the runtime that runs this.
    pub(super) fn new(store: Store, scope: TenantScope) -> Self {
        Self {
            store,
            scope,
            runtime: Handle::current(),
            found: HashMap::new(),
            unknown: HashSet::new(),
            asked: Vec::new(),
            answer: None,
        }
    }

    /// Looks up those that are not known yet, and waits for the database: the runtime runs on other threads. The texts are
    /// those of rows that are not checked yet.
    ///
    /// # Errors
    ///
    /// The error of the store, as what [`io::Error`] is of.
    pub(super) fn look_up<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> io::Result<()> {
        let mut ids = self.not_known(texts);
        if ids.is_empty() {
            return Ok(());
        }
        self.wait()?;
        ids.retain(|id| !self.is_known(*id));
        self.ask_for(ids);
        self.wait()
    }

    /// Has those looked up that are not known yet, without waiting for them. It waits for what was asked before.
    ///
    /// # Errors
    ///
    /// As [`look_up`](Self::look_up).
    pub(super) fn ask<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> io::Result<()> {
        self.wait()?;
        let ids = self.not_known(texts);
        self.ask_for(ids);
        Ok(())
    }

    fn ask_for(&mut self, ids: Vec<TenantId>) {
        if !ids.is_empty() {
            let (store, scope) = (self.store.clone(), self.scope.clone());
            self.asked.clone_from(&ids);
            self.answer = Some(self.runtime.spawn(async move { store.import_tenants(&scope, &ids).await }));
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let Some(answer) = self.answer.take() else { return Ok(()) };
        let found = self.runtime.block_on(answer).map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.found.extend(found);
        let room = MAX_UNKNOWN.saturating_sub(self.unknown.len());
        self.unknown.extend(self.asked.drain(..).filter(|id| !self.found.contains_key(id)).take(room));
        Ok(())
    }

    fn not_known<'t>(&self, texts: impl Iterator<Item = &'t str>) -> Vec<TenantId> {
        let mut ids: Vec<TenantId> = Vec::new();
        let mut last = "";
        for text in texts.filter(|text| std::mem::replace(&mut last, text) != *text) {
            // Blanks around it are no part of it.
            let id = text.trim_ascii().parse().ok();
            ids.extend(id.filter(|id| !self.is_known(*id)));
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn is_known(&self, id: TenantId) -> bool {
        self.found.contains_key(&id) || self.unknown.contains(&id)
    }

    pub(super) fn get(&self, id: TenantId) -> Option<ImportTenant> {
        self.found.get(&id).copied()
    }
}

/// The error of the store that [`Tenants::look_up`] has met, if it is one.
pub(super) fn store_error(error: io::Error) -> Result<StoreError, io::Error> {
    error.downcast()
}
