//! Closes a month: computes its bill as of a moment, writes it without any lock, and publishes it.

use std::{collections::HashSet, sync::Arc};

use bigdecimal::BigDecimal;

use super::{CloseError, Findings};
use crate::{
    auth::TenantScope,
    model::{Currency, Month, MonthRange, OrganizationId, StatementNumber, TenantId, UtcTime},
    reports::{
        Adjustments, CostLine,
        compute::{self, RatedLine, Rates},
        document,
    },
    statement::{Head, ListDigest, MissingDays, StatementKey, VERSION},
    store::{
        ClosingSession, CostReader, NewStatement, Published, Sealed, Statement, StatementEntry, Store, StoreConfig,
        StoreError, VisibleOrganization,
    },
};

#[derive(Clone, Debug)]
pub struct CloseRequest {
    pub organization_id: OrganizationId,
    pub month: Month,
    /// Whether there may be usage without a price.
    pub allow_unpriced: bool,
    /// Whether days may be missing.
    pub allow_missing_days: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What closing a month did.
#[derive(Debug)]
pub struct Closed {
    pub outcome: CloseOutcome,
    pub organization: VisibleOrganization,
    /// `None`: it was only asked what would be done.
    pub statement: Option<Statement>,
    /// What the lines cost.
    pub cost: BigDecimal,
    /// What the adjustments come to.
    pub adjustment: BigDecimal,
    /// Lines that no price covers.
    pub unpriced: Findings<CostLine>,
    pub missing_days: Findings<(TenantId, MissingDays)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseOutcome {
    Closed,
    /// It was closed before.
    Unchanged,
    /// It could be closed.
    DryRun,
}

/// Closes months, one after the other.
pub struct Closer {
    store: Store,
    session: ClosingSession,
    key: Option<Arc<StatementKey>>,
    closed_by: String,
}

/// What a statement has, as it is written.
#[derive(Default)]
struct Draft {
    lines: ListDigest,
    adjustments: ListDigest,
    reports: ListDigest,
    cost: BigDecimal,
    adjustment: BigDecimal,
    unpriced: Findings<CostLine>,
    missing_days: Findings<(TenantId, MissingDays)>,
}

// === impl CloseOutcome ===

impl CloseOutcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Unchanged => "unchanged",
            Self::DryRun => "could be closed",
        }
    }
}

// === impl Closer ===

impl Closer {
    /// Connects. `key` signs; without one, statements are not signed.
    pub async fn open(
        store: Store,
        config: &StoreConfig,
        key: Option<Arc<StatementKey>>,
        closed_by: impl Into<String>,
    ) -> Result<Self, StoreError> {
        let session = ClosingSession::open(config).await?;
        Ok(Self { store, session, key, closed_by: closed_by.into() })
    }

    /// Closes a month of an organization, or says why not.
    pub async fn close(&mut self, scope: &TenantScope, request: &CloseRequest) -> Result<Closed, CloseError> {
        let month = request.month;
        let found = self.store.find_organization(scope, request.organization_id).await?;
        let organization = found.visible().map_err(CloseError::OrganizationNotFound)?;
        // In this order: what is published after the snapshot is published after the end of the month.
        let now = self.store.present().await?;
        let (snapshot, meters) = (self.store.snapshot().await?, self.store.meters().await?);
        let range = MonthRange::single(month);
        let mut reader = self.store.read_costs(&organization, None, range, snapshot).await?;
        let previous = match state(&reader, month, now).await {
            Ok(State::Next(previous)) => previous,
            Ok(State::Closed(statement)) => {
                reader.end().await?;
                return Ok(Closed::unchanged(organization, statement));
            }
            Err(error) => {
                reader.end().await?;
                return Err(error);
            }
        };
        let currency = organization.currency();
        let rates = Rates::new(meters, reader.take_prices(), currency);
        let mut new = if request.dry_run { None } else { Some(self.session.begin().await?) };
        let mut draft = Draft { cost: currency.zero(), adjustment: currency.zero(), ..Draft::default() };
        draft.read_lines(&mut reader, &rates, month, new.as_mut()).await?;
        if let Some(previous) = &previous {
            draft.read_adjustments(&reader, &rates, (month, previous), new.as_mut()).await?;
        }
        reader.end().await?;
        if draft.unpriced.total > 0 && !request.allow_unpriced {
            return Err(CloseError::Unpriced { month, lines: draft.unpriced });
        }
        if draft.missing_days.total > 0 && !request.allow_missing_days {
            return Err(CloseError::MissingDays { month, days: draft.missing_days });
        }
        let Some(new) = new else { return Ok(draft.closed(organization, None, CloseOutcome::DryRun)) };
        let horizon = snapshot.time();
        let seal = |number, closed_at| {
            let head = draft.head(&organization, (number, horizon, closed_at), previous.as_ref(), &self.closed_by);
            seal(head, self.key.as_deref())
        };
        match new.publish(organization.id(), month, (horizon, previous.as_ref()), seal).await? {
            Published::Done(statement) => Ok(draft.closed(organization, Some(*statement), CloseOutcome::Closed)),
            Published::Overtaken => match self.store.statement_of_month(&organization, month).await? {
                Some(statement) => Ok(Closed::unchanged(organization, statement)),
                None => Err(CloseError::Conflict),
            },
        }
    }
}

/// How far an organization's months are closed.
enum State {
    /// The month is the next one to close, after this statement.
    Next(Option<Statement>),
    Closed(Statement),
}

async fn state(reader: &CostReader, month: Month, now: UtcTime) -> Result<State, CloseError> {
    let statements = reader.statements();
    if let Some(statement) = statements.iter().find(|statement| statement.billing_month == month) {
        return Ok(State::Closed(statement.clone()));
    }
    if now < month.end() {
        return Err(CloseError::NotOver { month, now });
    }
    let newest = statements.last();
    let next = match newest {
        Some(newest) if month < newest.billing_month => {
            return Err(CloseError::BeforeFirst { month, newest: newest.billing_month });
        }
        Some(newest) => newest.billing_month.shifted(1),
        None => reader.first_usage_month().await?,
    };
    match next {
        Some(next) if next < month => Err(CloseError::OutOfOrder { month, next }),
        _ => Ok(State::Next(newest.cloned())),
    }
}

fn seal(head: Head, key: Option<&StatementKey>) -> Sealed {
    let text = head.canonical();
    let digest = head.digest();
    let signature = key.map(|key| (key.public(), key.sign(&digest)));
    Sealed { head, text, digest, signature }
}

// === impl Draft ===

impl Draft {
    async fn read_lines(
        &mut self,
        reader: &mut CostReader,
        rates: &Rates,
        month: Month,
        mut new: Option<&mut NewStatement<'_>>,
    ) -> Result<(), StoreError> {
        while let Some(part) = reader.next_part().await? {
            let mut entries = Vec::new();
            for RatedLine { key, line } in rates.lines(&part, [])? {
                let content = document::line(&line).canonical();
                self.lines.add(&content);
                self.cost += line.cost.clone().unwrap_or_default();
                entries.push(StatementEntry { key, amount: line.cost.clone(), content });
                if line.cost.is_none() {
                    self.unpriced.add(line);
                }
            }
            // A month of which all was withdrawn has no lines, and is not reported on.
            let used: HashSet<_> = entries.iter().map(|entry| entry.key.tenant).collect();
            let tenants: Vec<_> = part.tenants.iter().filter(|tenant| used.contains(&tenant.key)).collect();
            let mut reports = compute::tenant_months(&part);
            let asked: Vec<_> = tenants.iter().map(|tenant| (tenant.id, month)).collect();
            for missing in reader.missing_days(&asked).await? {
                if let Some(report) = reports.get_mut(&(month, missing.tenant)) {
                    let days = document::missing_days(missing);
                    self.missing_days.add((report.tenant_id, days.clone()));
                    report.missing_days.push(days);
                }
            }
            let mut written = Vec::new();
            for tenant in tenants {
                let report = reports.get(&(month, tenant.id)).and_then(document::report);
                written.extend(report.map(|report| (tenant.key, report.canonical())));
            }
            written.iter().for_each(|(_, content)| self.reports.add(content));
            if let Some(new) = &mut new {
                new.write_lines(&entries, false).await?;
                new.write_reports(&written).await?;
            }
        }
        Ok(())
    }

    async fn read_adjustments(
        &mut self,
        reader: &CostReader,
        rates: &Rates,
        (month, previous): (Month, &Statement),
        mut new: Option<&mut NewStatement<'_>>,
    ) -> Result<(), StoreError> {
        let mut adjustments = Adjustments::new(month, reader.late_months(previous).await?);
        while let Some(part) = adjustments.next_part(reader, rates).await? {
            let mut entries = Vec::new();
            for (key, adjustment) in part {
                let content = document::adjustment(&adjustment).canonical();
                self.adjustments.add(&content);
                self.adjustment += &adjustment.amount;
                entries.push(StatementEntry { key, amount: Some(adjustment.amount), content });
            }
            if let Some(new) = &mut new {
                new.write_lines(&entries, true).await?;
            }
        }
        Ok(())
    }

    fn head(
        &self,
        organization: &VisibleOrganization,
        (number, horizon, closed_at): (StatementNumber, UtcTime, UtcTime),
        previous: Option<&Statement>,
        closed_by: &str,
    ) -> Head {
        Head {
            adjustment_count: self.adjustments.count(),
            adjustment_total: self.adjustment.clone(),
            adjustments_digest: self.adjustments.clone().finish(),
            billing_month: number.billing_month,
            closed_at,
            closed_by: closed_by.to_owned(),
            currency: organization.currency(),
            horizon,
            line_count: self.lines.count(),
            line_total: self.cost.clone(),
            lines_digest: self.lines.clone().finish(),
            number,
            organization_id: organization.id(),
            organization_name: organization.name().to_owned(),
            previous_digest: previous.map(|previous| previous.digest),
            report_count: self.reports.count(),
            reports_digest: self.reports.clone().finish(),
            total: &self.cost + &self.adjustment,
            version: VERSION,
        }
    }

    fn closed(self, organization: VisibleOrganization, statement: Option<Statement>, outcome: CloseOutcome) -> Closed {
        let Self { cost, adjustment, unpriced, missing_days, .. } = self;
        Closed { outcome, organization, statement, cost, adjustment, unpriced, missing_days }
    }
}

// === impl Closed ===

impl Closed {
    fn unchanged(organization: VisibleOrganization, statement: Statement) -> Self {
        Self {
            outcome: CloseOutcome::Unchanged,
            organization,
            cost: statement.line_total.clone(),
            adjustment: statement.adjustment_total.clone(),
            statement: Some(statement),
            unpriced: Findings::default(),
            missing_days: Findings::default(),
        }
    }

    /// What the bill comes to.
    pub fn amount_due(&self) -> BigDecimal {
        &self.cost + &self.adjustment
    }

    pub fn currency(&self) -> Currency {
        self.organization.currency()
    }
}
