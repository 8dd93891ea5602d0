//! Assets: a row for each name that was delivered, found again wherever it lies among the others of its tenant.

use std::collections::BTreeSet;

use crate::support::{
    Database,
    builder::{ORG, Row, TENANT, TENANT_2, csv},
};

const TYPES: [&str; 3] = ["ENDPOINT", "GATEWAY", "USER"];

/// Tenant, type, id and name.
type Asset = [String; 4];

fn asset(tenant: &str, number: usize) -> Asset {
    // Every eighth id has many names.
    let (id, name) = if number.is_multiple_of(8) { (0, number) } else { (number, 0) };
    [tenant.to_owned(), TYPES[number % 3].to_owned(), format!("asset-{id:04}"), format!("name {name:04}")]
}

/// In a minute of its own: within one, an asset has one name.
fn row(day: &str, tenant: &str, number: usize) -> Row {
    let [tenant, asset_type, id, name] = asset(tenant, number);
    let minute = format!("{day}T{:02}:{:02}", number / 60, number % 60);
    let row = Row::new(&format!("{minute}:00Z"), &format!("{minute}:30Z"), "1");
    row.of(ORG, &tenant).asset(&id).with("assetType", &asset_type).with("assetName", &name)
}

async fn of_day(database: &Database, day: &str) -> BTreeSet<Asset> {
    let select = r#"SELECT "tenantId"::text, "assetType", "assetId", "assetName" FROM detailed_usage_report
                    WHERE "start"::date::text = $1"#;
    let rows = database.sql().await.query(select, &[&day]).await.unwrap();
    let found: BTreeSet<Asset> = rows.iter().map(|row| [0, 1, 2, 3].map(|column| row.get(column))).collect();
    assert_eq!(found.len(), rows.len(), "{day}");
    found
}

#[tokio::test]
async fn an_asset_keeps_its_row_wherever_it_lies_among_others() {
    let database = Database::with_catalog().await;
    let everything: Vec<usize> = (0..1200).collect();
    let deliveries: [Vec<usize>; 7] = [
        (0..600).collect(),
        // All of them again, backwards; some, with new ones between; the first and the last; next to each other; none that is there.
        (0..600).rev().collect(),
        (0..1200).step_by(7).collect(),
        vec![0, 1, 2, 597, 598, 599],
        (300..340).collect(),
        (1200..1210).collect(),
        everything,
    ];
    let mut delivered = BTreeSet::new();
    for (number, picked) in deliveries.iter().enumerate() {
        let day = format!("2022-02-{:02}", number + 1);
        let both = || [TENANT, TENANT_2].into_iter().flat_map(|tenant| picked.iter().map(move |&n| (tenant, n)));
        database.import(&csv(&both().map(|(tenant, n)| row(&day, tenant, n)).collect::<Vec<_>>())).await;
        let assets: BTreeSet<Asset> = both().map(|(tenant, n)| asset(tenant, n)).collect();
        delivered.extend(assets.iter().cloned());
        assert_eq!(of_day(&database, &day).await, assets, "{day}");
        let count: i64 = database.sql().await.query_one("SELECT count(*) FROM asset", &[]).await.unwrap().get(0);
        assert_eq!(usize::try_from(count).unwrap(), delivered.len(), "{day}");
    }
}
