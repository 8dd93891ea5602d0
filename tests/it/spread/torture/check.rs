//! What must hold when the machines are back.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use secure_connect_reports::{
    auth::TenantScope,
    billing::{CloseOutcome, Closer},
    store::{self, PurgeRules, Store},
};

use super::{ASSETS, DAYS, LARGE, LARGE_ASSETS, Scene, TENANTS, close, day, february, seen};
use crate::support::{
    builder::{ORG, csv},
    calls::monthly_costs,
};

impl Scene {
    /// A coordinator that was killed may have published what the importer was not told of.
    pub(super) async fn check(&self, crashes: u32, cut_off: i32, kills_coordinator: bool) {
        let sql = self.database.sql().await;
        // No load is lost, none is there that was refused, and each is whole.
        let imported = std::mem::take(&mut *self.imported.lock().unwrap());
        let mut lost = 0;
        for of in 0..TENANTS {
            let report = self.servers[1].csv(&february(of, None)).await.0;
            let of_day = |on: u32| {
                let may_be = if kills_coordinator { &imported[&(of, on)][..] } else { &imported[&(of, on)][..1] };
                let days = may_be.iter().map(|&n| day(of, &format!("2022-02-{on:02}"), n));
                days.map(|rows| csv(&rows)).find(|rows| report.contains(rows.split_once('\n').expect("a header").1))
            };
            let days: Vec<String> = (1..=DAYS).filter_map(of_day).collect();
            let is_all = report.lines().count() == 1 + DAYS as usize * ASSETS;
            lost += u32::from(days.len() < DAYS as usize || !is_all);
        }
        // What was read is what is read, by the other way.
        let (reads, downloads) = (self.reads.lock().unwrap().clone(), self.downloads.lock().unwrap().clone());
        let mut changed = 0;
        for (n, (of, moment, revision, read)) in reads.iter().enumerate() {
            let mut stub = self.servers[n % 2].stub().await;
            let again = stub.get_detailed_usage(february(*of, Some(*moment)).to_request()).await.unwrap().into_inner();
            let again: Vec<_> = again.try_collect().await.unwrap();
            changed += u32::from(again[0].header.as_ref().unwrap().revision != *revision || seen(&again) != *read);
        }
        let mut different = 0;
        for (n, (of, moment, revision, report)) in downloads.iter().enumerate() {
            let again = self.servers[n % 2].csv(&february(*of, Some(*moment))).await;
            different += u32::from(again.0 != *report || again.1 != *revision);
        }
        // The detail reconciles with the bill, as of each of some moments.
        let mut unreconciled = 0;
        for (_, moment, ..) in reads.iter().step_by(reads.len().div_ceil(20)) {
            let mut detail = 0_u64;
            for of in 0..=LARGE {
                let report = self.servers[1].csv(&february(of, Some(*moment))).await.0;
                let quantities = csv_quantities(&report);
                let whole = if of == LARGE { LARGE_ASSETS } else { ASSETS * DAYS as usize };
                assert_eq!(quantities.len(), whole, "each load is whole");
                detail += quantities.iter().sum::<u64>();
            }
            let mut request = monthly_costs(ORG);
            request.as_of = Some((*moment).into());
            let costs = self.servers[0].stub().await.get_monthly_costs(request).await.unwrap().into_inner();
            let billed: u64 = costs.lines.iter().map(|line| line.quantity.parse::<u64>().unwrap()).sum();
            unreconciled += u32::from(billed != detail);
        }
        let statements = self.statements.lock().unwrap().clone();
        let config = self.database.config();
        let mut closer = Closer::open(Store::new(&config).unwrap(), &config, None, "test").await.unwrap();
        let mut rewritten = 0;
        for (month, digest) in &statements {
            let again = closer.close(&TenantScope::operator(), &close(month)).await.unwrap();
            rewritten += u32::from(
                again.outcome != CloseOutcome::Unchanged || again.statement.unwrap().digest.to_vec() != *digest,
            );
        }
        // What imports left that did not come to their end goes.
        let rules = PurgeRules { superseded_for: None, months_before: Some("1990-01".parse().unwrap()) };
        store::purge(&self.database.url, rules, Duration::from_secs(300), false).await.unwrap();
        let left = "SELECT count(*) FROM (SELECT tenant_key, load_id FROM usage_block OFFSET 0) r WHERE NOT EXISTS (
            SELECT FROM usage_load l WHERE l.tenant_key = r.tenant_key AND l.load_id = r.load_id)";
        let left: i64 = sql.query_one(left, &[]).await.unwrap().get(0);
        let loads: i64 = sql.query_one("SELECT count(*) FROM usage_load", &[]).await.unwrap().get(0);

        let refused = self.refused.lock().unwrap();
        eprintln!(
            "{crashes} crashes, {cut_off} commits cut off between machines; {loads} loads, {lost} tenants that lost one; {} reads, \
             {changed} changed; {} downloads, {different} differ; {} statements, {rewritten} rewritten; {unreconciled} moments \
             not reconciled; {left} blocks left; refused meanwhile: {refused:?}",
            reads.len(),
            downloads.len(),
            statements.len(),
        );
        assert_eq!((lost, changed, different, rewritten, unreconciled, left), (0, 0, 0, 0, 0, 0));
        let crashes = crashes as usize;
        for (what, count, least) in [
            ("reads", reads.len(), crashes * 5),
            ("downloads", downloads.len(), crashes),
            ("statements", statements.len(), crashes / 8),
            ("refused reads", refused["reads"] as usize, crashes),
            ("refused imports", refused["imports"] as usize, crashes),
        ] {
            assert!(count >= least, "{count} {what}");
        }
    }
}

fn csv_quantities(report: &str) -> Vec<u64> {
    let mut reader = csv::Reader::from_reader(report.as_bytes());
    let at = reader.headers().unwrap().iter().position(|name| name == "quantity").expect("a column");
    reader.records().map(|record| record.unwrap()[at].parse().unwrap()).collect()
}
