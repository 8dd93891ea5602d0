//! A database with a server, and what tests of closed months do with them.

use std::collections::BTreeMap;

use bigdecimal::BigDecimal;
use secure_connect_reports::{
    auth::TenantScope,
    billing::{CloseError, CloseRequest, Closed, Closer},
    contract::proto::{
        CostAdjustment, CostBasis, CostLine, GetMonthlyCostsRequest, GetMonthlyCostsResponse, GetStatementRequest,
        GetStatementResponse, YearMonth, billing_service_client::BillingServiceClient,
    },
    model::Month,
    store::Store,
};
use tonic::{Status, transport::Channel};

use crate::support::{Database, Server, builder::ORG};

/// The books of an organization.
pub(crate) struct Books {
    pub(crate) database: Database,
    pub(crate) server: Server,
}

/// What is billed for itself: month, tenant, meter and region of the usage.
pub(crate) type Key = (String, String, String, i32);

pub(crate) fn month(text: &str) -> Option<YearMonth> {
    let month: Month = text.parse().unwrap();
    Some(month.into())
}

pub(crate) fn name(month: Option<YearMonth>) -> String {
    let month = month.unwrap();
    format!("{:04}-{:02}", month.year, month.month)
}

pub(crate) fn amount(text: &str) -> BigDecimal {
    if text.is_empty() { BigDecimal::default() } else { text.parse().unwrap() }
}

pub(crate) fn key(line: &CostLine) -> Key {
    (name(line.month), line.tenant_id.clone(), line.meter_name.clone(), line.billing_region)
}

/// Usage month, meter, billed and amount of adjustments.
pub(crate) fn short(adjustments: &[CostAdjustment]) -> Vec<(String, &str, &str, &str)> {
    let short = adjustments.iter().map(|CostAdjustment { line, billed, amount, .. }| {
        let line = line.as_ref().unwrap();
        (name(line.month), line.meter_name.as_str(), billed.as_str(), amount.as_str())
    });
    short.collect()
}

/// Waits until what was published is in the past, and returns the present.
pub(crate) async fn present(database: &Database) -> prost_types::Timestamp {
    let sql = database.sql().await;
    let micros: i64 = sql
        .query_one(
            "SELECT (extract(epoch FROM greatest(clock_timestamp(), last_published_at)) * 1000000)::bigint FROM publication_clock",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap();
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

// === impl Books ===

impl Books {
    /// With the small catalog.
    pub(crate) async fn open() -> Self {
        let database = Database::with_catalog().await;
        let server = database.serve();
        Self { database, server }
    }

    pub(crate) async fn billing(&self) -> BillingServiceClient<Channel> {
        let channel = Channel::from_shared(self.server.url()).unwrap().connect().await.expect("a connection");
        BillingServiceClient::new(channel)
    }

    pub(crate) async fn try_close(&self, request: &CloseRequest) -> Result<Closed, CloseError> {
        let config = self.database.config();
        let store = Store::new(&config).unwrap();
        let mut closer = Closer::open(store, &config, None, "test").await.unwrap();
        closer.close(&TenantScope::operator(), request).await
    }

    /// Closes a month of an organization, whatever is missing.
    pub(crate) async fn close_of(&self, organization: &str, month: &str) -> Closed {
        let request = CloseRequest {
            organization_id: organization.parse().unwrap(),
            month: month.parse().unwrap(),
            allow_unpriced: true,
            allow_missing_days: true,
            dry_run: false,
        };
        self.try_close(&request).await.expect("a statement")
    }

    pub(crate) async fn close(&self, month: &str) -> Closed {
        self.close_of(ORG, month).await
    }

    pub(crate) async fn try_costs(&self, request: GetMonthlyCostsRequest) -> Result<GetMonthlyCostsResponse, Status> {
        self.server.stub().await.get_monthly_costs(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn costs(&self, start: &str, end: &str) -> GetMonthlyCostsResponse {
        self.try_costs(request(start, end)).await.expect("costs")
    }

    pub(crate) async fn current(&self, start: &str, end: &str) -> GetMonthlyCostsResponse {
        let basis = CostBasis::Current.into();
        self.try_costs(GetMonthlyCostsRequest { basis, ..request(start, end) }).await.expect("costs")
    }

    /// All messages of a statement.
    pub(crate) async fn statement(&self, month_of_bill: &str) -> Vec<GetStatementResponse> {
        let request = GetStatementRequest { organization_id: ORG.to_owned(), billing_month: month(month_of_bill) };
        let mut stream = self.billing().await.get_statement(request).await.expect("a statement").into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await.expect("a whole statement") {
            messages.push(message);
        }
        messages
    }

    /// What statements and open adjustments bill for the usage of closed months: it must be what the usage costs now.
    pub(crate) async fn check_reconciled(&self, first: &str, last_closed: &str, first_open: &str) {
        let bill = self.costs(first, first_open).await;
        let mut billed: BTreeMap<Key, BigDecimal> = BTreeMap::new();
        for line in bill.lines.iter().filter(|line| name(line.month).as_str() <= last_closed) {
            *billed.entry(key(line)).or_default() += amount(&line.cost);
        }
        for adjustment in &bill.adjustments {
            *billed.entry(key(adjustment.line.as_ref().unwrap())).or_default() += amount(&adjustment.amount);
        }
        let current = self.current(first, last_closed).await;
        let mut costs: BTreeMap<Key, BigDecimal> = BTreeMap::new();
        for line in &current.lines {
            *costs.entry(key(line)).or_default() += amount(&line.cost);
        }
        billed.retain(|_, amount| *amount != BigDecimal::default());
        costs.retain(|_, amount| *amount != BigDecimal::default());
        assert_eq!(billed, costs);
        for total in &bill.totals {
            let of_lines = bill.lines.iter().filter(|line| line.month == total.month);
            let lines: BigDecimal = of_lines.map(|line| amount(&line.cost)).sum();
            let of_bill = bill.adjustments.iter().filter(|adjustment| adjustment.billing_month == total.month);
            let adjustments: BigDecimal = of_bill.map(|adjustment| amount(&adjustment.amount)).sum();
            let stated = (amount(&total.cost), amount(&total.adjustment), amount(&total.amount_due));
            assert_eq!(stated, (lines.clone(), adjustments.clone(), lines + adjustments));
        }
    }
}

pub(crate) fn request(start: &str, end: &str) -> GetMonthlyCostsRequest {
    let (start_month, end_month) = (month(start), month(end));
    GetMonthlyCostsRequest { organization_id: ORG.to_owned(), start_month, end_month, ..Default::default() }
}
