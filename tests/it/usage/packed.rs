//! Records without what they repeat.

use secure_connect_reports::contract::proto::{GetDetailedUsageRequest, UsageFilter};

use super::{large, records, request, stream};
use crate::support::{
    Database,
    builder::{CATALOG, Row, csv},
    packing::unpack,
};

fn allowing(request: GetDetailedUsageRequest) -> GetDetailedUsageRequest {
    GetDetailedUsageRequest { packed: true, ..request }
}

#[tokio::test]
async fn packed_records_are_the_records() {
    let (_database, server) = large().await;
    let filters = [
        UsageFilter::default(),
        UsageFilter { asset_ids: vec!["asset-7".into(), "asset-2999".into()], ..Default::default() },
        UsageFilter { billing_regions: vec![2], trial: Some(false), ..Default::default() },
        UsageFilter { asset_ids: vec!["none".into()], ..Default::default() },
    ];
    for filter in filters {
        let request = GetDetailedUsageRequest { filter: Some(filter), ..request() };
        let plain = stream(&server, request.clone()).await.unwrap();
        let messages = stream(&server, allowing(request.clone())).await.unwrap();
        assert!(messages.iter().all(|message| message.records.is_empty()));
        let packed: Vec<_> = messages.iter().filter_map(|message| message.packed_records.as_ref()).collect();
        let unpacked: Vec<_> = packed.iter().flat_map(|packed| unpack(packed)).collect();
        assert_eq!(unpacked, records(&plain));
        assert!(packed.iter().all(|packed| (1..=4096).contains(&packed.quantities.len())));
        let (first, last) = (|of: &[_]| of.first().cloned(), |of: &[_]| of.last().cloned());
        assert_eq!(first(&messages).unwrap().header, first(&plain).unwrap().header);
        assert_eq!(last(&messages).unwrap().summary, last(&plain).unwrap().summary);
        // From each token on, packed or not, the rest follows.
        let mut received = 0;
        for message in messages.iter().filter(|message| message.packed_records.is_some()) {
            received += message.packed_records.as_ref().unwrap().quantities.len();
            let resumed = GetDetailedUsageRequest { resume_token: message.resume_token.clone(), ..request.clone() };
            let rest = stream(&server, resumed.clone()).await.unwrap();
            assert_eq!(records(&rest), unpacked[received..]);
            let rest = stream(&server, allowing(resumed)).await.unwrap();
            let rest = rest.iter().filter_map(|message| message.packed_records.as_ref());
            assert_eq!(rest.flat_map(unpack).collect::<Vec<_>>(), unpacked[received..]);
        }
    }
}

#[tokio::test]
async fn what_records_share_is_there_once() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let of = |asset: &str, hour: u32, quantity: &str| {
        let (start, end) = (format!("2022-02-01T{hour:02}:00:00Z"), format!("2022-02-01T{:02}:00:00Z", hour + 1));
        Row::on("2022-02-01", quantity).asset(asset).with("start", &start).with("end", &end)
    };
    let rows = [of("a", 0, "1"), of("a", 1, "1.50"), of("b", 0, "0"), of("b", 1, "12345678901234567890.10")];
    database.import(&csv(&rows)).await;
    let messages = stream(&database.serve(), allowing(request())).await.unwrap();
    let packed = messages[0].packed_records.as_ref().unwrap();
    let assets: Vec<_> = packed.assets.iter().map(|asset| asset.asset_id.as_str()).collect();
    let hours: Vec<_> = packed.dimensions.iter().map(|of| of.start.unwrap().seconds % 86_400 / 3600).collect();
    assert_eq!((assets, hours), (vec!["a", "b"], vec![0, 1]));
    assert_eq!((&packed.asset_indexes, &packed.dimension_indexes), (&vec![0, 0, 1, 1], &vec![0, 1, 0, 1]));
    assert_eq!(packed.quantities, ["1", "1.50", "0", "12345678901234567890.10"]);
    // Nothing is in both.
    assert!(packed.assets.iter().all(|asset| asset.tenant_id.is_empty() && asset.start.is_none()));
    assert!(packed.dimensions.iter().all(|of| of.asset_type == 0 && of.quantity.is_empty()));
}
