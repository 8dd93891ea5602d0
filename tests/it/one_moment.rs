//! Several reports as of one moment: that which `GetTenant` names.

use secure_connect_reports::client::{TenantUsage, UsageQuery};

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, TENANT_2, csv},
    rng, rounds,
};

async fn ask(server: &Server, tenant: &str, as_of: Option<&TenantUsage>) -> TenantUsage {
    let as_of = as_of.map(|usage| usage.as_of);
    server.client().await.tenant_usage(tenant.parse().unwrap(), as_of).await.expect("a tenant")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_which_nothing_was_published_has_a_moment_too() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let server = database.serve();
    let first = ask(&server, TENANT, None).await;
    assert!(first.months.is_empty());
    assert_eq!(first.tenant.name, "acme-hq");
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let (then, now) = (ask(&server, TENANT, Some(&first)).await, ask(&server, TENANT, None).await);
    assert_eq!((then.months.len(), then.as_of), (0, first.as_of));
    assert_eq!(now.months.len(), 1);
    assert!(now.as_of > first.as_of);
}

/// Whatever is published while and after it is asked for, what a moment shows stays as it is, for every tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_behind_the_moment_of_a_tenant() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let server = database.serve();
    let mut rng = rng();
    let delivery = |quantity: u32| {
        let day = format!("2022-0{}-0{}", 2 + quantity % 2, 1 + quantity % 7);
        let of_other = Row::on(&day, &quantity.to_string()).of(ORG, TENANT_2);
        csv(&[Row::on(&day, &quantity.to_string()), of_other])
    };
    database.import(&delivery(1)).await;
    let mut seen: Vec<(TenantUsage, TenantUsage)> = Vec::new();
    for round in 0..rounds(8) {
        let look = async {
            tokio::time::sleep(std::time::Duration::from_micros(rng.u64(0..40_000))).await;
            let one = ask(&server, TENANT, None).await;
            // At once, while the import may still go on.
            let other = ask(&server, TENANT_2, Some(&one)).await;
            (one, other)
        };
        let delivery = delivery(2 + round);
        let (_, (one, other)) = tokio::join!(database.import(&delivery), look);
        assert_eq!(one.as_of, other.as_of);
        // A delivery has both tenants, so a moment does, too.
        let counts = |usage: &TenantUsage| {
            usage.months.iter().map(|month| (month.month, month.record_count)).collect::<Vec<_>>()
        };
        assert_eq!(counts(&one), counts(&other), "round {round}");
        seen.push((one, other));
    }
    for (one, other) in &seen {
        assert_eq!(ask(&server, TENANT, Some(one)).await.months, one.months);
        assert_eq!(ask(&server, TENANT_2, Some(one)).await.months, other.months);
        for month in &one.months {
            let as_of = Some(one.as_of);
            let query = UsageQuery { as_of, ..UsageQuery::new(TENANT.parse().unwrap(), month.month) };
            let (report, revision) = server.csv(&query).await;
            assert_eq!(revision, month.revision);
            assert_eq!(report.lines().count() as u64, month.record_count + 1);
        }
    }
    assert!(seen.windows(2).any(|pair| pair[0].0.as_of < pair[1].0.as_of), "something was published meanwhile");
}
