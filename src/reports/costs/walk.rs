//! Goes over a bill, section by section: lines of statements, lines of open months, adjustments of statements, and those that
//! the next statement will have.

use std::{collections::HashMap, sync::Arc};

use super::{
    Adjustments, CostBasis, CostLine, CostTotal, CostsRequest, TenantMonth,
    compute::{self, RatedLine, Rates},
    document::{missing_days, read_adjustment, read_line, read_report},
    page::{Page, Section},
    page_token::SectionNames,
    totals::Sums,
};
use crate::{
    model::{Month, MonthRange, TenantId},
    store::{CostReader, Statement, StoreError},
};

pub(super) struct Walk {
    months: MonthRange,
    /// The last month that is closed.
    closed_until: Option<Month>,
    /// Whether lines of closed months are those of statements.
    by_statements: bool,
    /// Those of the months.
    statements: Vec<Statement>,
    /// Of the first open month, if it is asked for.
    adjustments: Option<Adjustments>,
    /// The reports that lines of open months come from.
    reports: HashMap<(Month, TenantId), TenantMonth>,
}

// === impl Walk ===

impl Walk {
    /// Leaves to the reader what is not in statements.
    pub(super) async fn new(reader: &mut CostReader, request: &CostsRequest) -> Result<Self, StoreError> {
        let months = request.months;
        let newest = reader.statements().last().cloned();
        let closed_until = newest.as_ref().map(|newest| newest.billing_month);
        let by_statements = request.basis == CostBasis::Bill;
        let mut statements = reader.statements().to_vec();
        statements.retain(|statement| by_statements && months.contains(statement.billing_month));
        let mut adjustments = None;
        if let (true, Some(newest)) = (by_statements, &newest)
            && let Some(first_open) = newest.billing_month.shifted(1)
        {
            reader.start_at(first_open);
            if months.contains(first_open) {
                adjustments = Some(Adjustments::new(first_open, reader.late_months(newest).await?));
            }
        }
        Ok(Self { months, closed_until, by_statements, statements, adjustments, reports: HashMap::new() })
    }

    pub(super) fn names(&self, reader: &CostReader) -> SectionNames {
        let adjustments = self.adjustments.as_ref().map_or(0, Adjustments::names);
        SectionNames { open: reader.names(), adjustments }
    }

    /// Fills a page, and adds up what is not known.
    pub(super) async fn run(
        &mut self,
        reader: &mut CostReader,
        rates: &Rates,
        page: &mut Page,
        known: Option<Arc<[CostTotal]>>,
    ) -> Result<Arc<[CostTotal]>, StoreError> {
        let mut sums = known.is_none().then(|| Sums::new(self.months, rates.currency(), self.closed_until));
        if let Some(sums) = &mut sums {
            reader.rewind();
            for statement in &self.statements {
                sums.set(statement.number, reader.statement_totals(statement).await?);
            }
        }
        self.billed(reader, page, Section::Billed).await?;
        self.open(reader, rates, page, sums.as_mut()).await?;
        self.billed(reader, page, Section::BilledAdjustments).await?;
        self.adjust(reader, rates, page, sums.as_mut()).await?;
        Ok(known.or_else(|| sums.map(Sums::totals)).unwrap_or_default())
    }

    /// What statements have.
    async fn billed(&self, reader: &CostReader, page: &mut Page, section: Section) -> Result<(), StoreError> {
        for statement in &self.statements {
            let month = statement.billing_month;
            let Some(mut after) = page.after(section, month) else { continue };
            while !page.has_more() {
                let entries = reader.statement_lines(statement, section == Section::BilledAdjustments, after).await?;
                let Some(&(last, _)) = entries.last() else { break };
                for (number, content) in entries {
                    if section == Section::Billed {
                        page.take_line(section, number, read_line(&content, month)?);
                    } else {
                        page.take_adjustment(section, number, read_adjustment(&content, month)?);
                    }
                }
                after = last;
            }
        }
        Ok(())
    }

    /// Lines of open months, computed.
    async fn open(
        &mut self,
        reader: &mut CostReader,
        rates: &Rates,
        page: &mut Page,
        mut sums: Option<&mut Sums>,
    ) -> Result<(), StoreError> {
        while sums.is_some() || !page.is_past(Section::Open) {
            let Some(part) = reader.next_part().await? else { break };
            let mut reports = compute::tenant_months(&part);
            for RatedLine { line, .. } in rates.lines(&part, [])? {
                sums.iter_mut().for_each(|sums| sums.add(&line));
                let key = (line.month, line.tenant_id);
                if page.take_line(Section::Open, 0, line)
                    && let Some(report) = reports.remove(&key)
                {
                    self.reports.insert(key, report);
                }
            }
        }
        Ok(())
    }

    /// Adjustments that no statement has yet.
    async fn adjust(
        &mut self,
        reader: &CostReader,
        rates: &Rates,
        page: &mut Page,
        mut sums: Option<&mut Sums>,
    ) -> Result<(), StoreError> {
        let Some(adjustments) = &mut self.adjustments else { return Ok(()) };
        if let (None, Some((month, tenant))) = (&sums, page.first_adjustment()) {
            adjustments.seek(month, tenant);
        }
        while sums.is_some() || !page.has_more() {
            let Some(part) = adjustments.next_part(reader, rates).await? else { break };
            for (_, adjustment) in part {
                sums.iter_mut().for_each(|sums| sums.adjust(&adjustment));
                page.take_adjustment(Section::Adjustments, 0, adjustment);
            }
        }
        Ok(())
    }

    /// The reports that the lines of a page come from, in the order of the lines.
    pub(super) async fn reports(
        &mut self,
        reader: &CostReader,
        lines: &[CostLine],
    ) -> Result<Vec<TenantMonth>, StoreError> {
        let mut asked: Vec<(Month, TenantId)> = lines.iter().map(|line| (line.month, line.tenant_id)).collect();
        asked.dedup();
        for statement in &self.statements {
            let month = statement.billing_month;
            let of_month = asked.iter().filter(|(asked, _)| *asked == month);
            let tenants: Vec<TenantId> = of_month.map(|&(_, tenant)| tenant).collect();
            if tenants.is_empty() {
                continue;
            }
            for content in reader.reports_of_statement(statement, &tenants).await? {
                let report = read_report(&content, month)?;
                self.reports.insert((month, report.tenant_id), report);
            }
        }
        let computed = asked.iter().filter(|(month, _)| !self.by_statements || Some(*month) > self.closed_until);
        let computed: Vec<_> = computed.map(|&(month, tenant)| (tenant, month)).collect();
        for missing in reader.missing_days(&computed).await? {
            if let Some(report) = self.reports.get_mut(&(missing.month, missing.tenant)) {
                report.missing_days.push(missing_days(missing));
            }
        }
        Ok(asked.iter().filter_map(|key| self.reports.remove(key)).collect())
    }
}
