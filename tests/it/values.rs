//! Asset types, regions and platforms: every value is stored, filtered and shown, and one that this version does not know is an
//! error, never a record less.

use secure_connect_reports::{
    contract::proto::{GetDetailedUsageRequest, UsageFilter, UsageRecord},
    model::{AssetType, BillingRegion, Platform},
};
use tonic::{Code, Status};

use crate::support::{
    Database, Server,
    builder::{Row, TENANT, csv},
    calls::{detailed_usage, reason},
};

async fn read(server: &Server, filter: UsageFilter) -> Result<Vec<UsageRecord>, Status> {
    let request = GetDetailedUsageRequest { filter: Some(filter), ..detailed_usage(TENANT) };
    let mut stream = server.stub().await.get_detailed_usage(request).await?.into_inner();
    let mut records = Vec::new();
    while let Some(message) = stream.message().await? {
        records.extend(message.records);
    }
    Ok(records)
}

fn one_asset() -> UsageFilter {
    UsageFilter { asset_ids: vec!["one".to_owned()], ..Default::default() }
}

#[tokio::test]
async fn every_value_is_stored_filtered_and_shown() {
    let database = Database::with_catalog().await;
    let platforms = || Platform::ALL.iter().map(|platform| platform.as_str()).chain([""]);
    let rows = AssetType::ALL.iter().flat_map(|asset_type| {
        BillingRegion::ALL.iter().flat_map(move |region| {
            platforms().map(move |platform| {
                let row = Row::on("2022-02-01", "1").bandwidth().asset("one").with("assetType", asset_type.as_str());
                row.with("billingRegion", region.as_str()).with("platform", platform)
            })
        })
    });
    let rows: Vec<Row> = rows.collect();
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let all = read(&server, one_asset()).await.unwrap();
    assert_eq!(all.len(), rows.len(), "one id of every type");
    for &asset_type in AssetType::ALL {
        let filter = UsageFilter { asset_types: vec![asset_type.code().into()], ..one_asset() };
        assert_eq!(read(&server, filter).await.unwrap().len(), rows.len() / AssetType::ALL.len(), "{asset_type}");
    }
    for &region in BillingRegion::ALL {
        let filter = UsageFilter { billing_regions: vec![region.code().into()], ..one_asset() };
        assert_eq!(read(&server, filter).await.unwrap().len(), rows.len() / BillingRegion::ALL.len(), "{region}");
    }
    // The view for people with SQL names all of them.
    let sql = r#"SELECT array_agg(DISTINCT "assetType") FILTER (WHERE "assetType" IS NOT NULL) AS types,
                        array_agg(DISTINCT "billingRegion") FILTER (WHERE "billingRegion" IS NOT NULL) AS regions,
                        array_agg(DISTINCT platform) FILTER (WHERE platform IS NOT NULL) AS platforms
                 FROM detailed_usage_report"#;
    let row = database.sql().await.query_one(sql, &[]).await.unwrap();
    let sorted = |names: Vec<&'static str>| {
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        names.sort();
        names
    };
    let found = |column: &str| row.get::<_, Vec<String>>(column);
    assert_eq!(found("types"), sorted(AssetType::ALL.iter().map(|value| value.as_str()).collect()));
    assert_eq!(found("regions"), sorted(BillingRegion::ALL.iter().map(|value| value.as_str()).collect()));
    assert_eq!(found("platforms"), sorted(Platform::ALL.iter().map(|value| value.as_str()).collect()));
}

#[tokio::test]
async fn a_value_that_this_version_does_not_know_is_an_error() {
    let database = Database::with_catalog().await;
    let row = Row::on("2022-02-01", "1").bandwidth().with("platform", "mcp");
    database.import(&csv(&[row.clone().asset("one"), row.asset("two")])).await;
    let server = database.serve();
    let sql = database.sql().await;
    let filters = || [UsageFilter::default(), one_asset(), UsageFilter { trial: Some(false), ..Default::default() }];
    // Type, region and platform, by their bits in `kind_codes`; the greatest that there is room for.
    for (what, shift, greatest) in [("asset type", 6, 7), ("billing region", 3, 7), ("platform", 1, 3)] {
        let set = format!(
            "CREATE TEMPORARY TABLE before AS SELECT load_id, block_number, kind_codes FROM usage_block;
             UPDATE usage_block SET kind_codes =
                 (SELECT array_agg(code | {greatest}::bigint << {shift}) FROM unnest(kind_codes) AS c (code))"
        );
        sql.batch_execute(&set).await.unwrap();
        for filter in filters() {
            let status = read(&server, filter.clone()).await.expect_err(what);
            assert_eq!(reason(&status), (Code::Internal, "INTERNAL".to_owned()), "{what}, {filter:?}");
        }
        let reset = "UPDATE usage_block b SET kind_codes = before.kind_codes FROM before
                     WHERE before.load_id = b.load_id AND before.block_number = b.block_number;
                     DROP TABLE before";
        sql.batch_execute(reset).await.unwrap();
        assert_eq!(read(&server, UsageFilter::default()).await.unwrap().len(), 2);
    }
    // An asset of a type of a later version, whose records are there.
    let later = "ALTER TABLE asset DROP CONSTRAINT asset_asset_type_check;
                 UPDATE asset SET asset_type = 6 WHERE asset_id = 'one'";
    sql.batch_execute(later).await.unwrap();
    let server = database.serve();
    let status = read(&server, one_asset()).await.expect_err("it must not be an empty report");
    assert_eq!(reason(&status), (Code::Internal, "INTERNAL".to_owned()));
}

#[tokio::test]
async fn numbers_of_every_width_are_unpacked_by_sql() {
    let database = Database::with_catalog().await;
    let sql = database.sql().await;
    // Bits are set in the highest and the lowest byte, and in none.
    for width in 1..=16 {
        let highest = u128::MAX >> (128 - 8 * width);
        let numbers = [
            0,
            1,
            highest >> 1,
            0x8f_u128 << (8 * (width - 1)) >> 1,
            0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10 & (highest >> 1),
        ];
        let packed: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()[16 - width..].to_vec()).collect();
        for function in ["packed_number", "packed_wide_number"].into_iter().skip(usize::from(width > 8)) {
            let found =
                format!("SELECT {function}($1, index, $2)::text FROM generate_series(0, 4) index ORDER BY index");
            let found = sql.query(&found, &[&packed, &i32::try_from(width).unwrap()]).await.unwrap();
            let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
            assert_eq!(found, numbers.map(|number| number.to_string()), "{function} of {width} bytes");
        }
        if width > 8 {
            let found =
                sql.query_one("SELECT packed_number($1, 1, $2)", &[&packed, &i32::try_from(width).unwrap()]).await;
            assert_eq!(found.unwrap().get::<_, Option<i64>>(0), None, "no number rather than a wrong one");
        }
    }
}
