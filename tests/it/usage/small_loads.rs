//! Small loads, which are read together: the same records in the same order, and the same positions.

use secure_connect_reports::contract::proto::{GetDetailedUsageRequest, UsageFilter};

use super::{ids, records, request, stream};
use crate::support::{
    Database, Server,
    builder::{CATALOG, Row, TENANT, csv},
    program, run,
};

const DAYS: usize = 28;
const SOURCES: usize = 12;
/// A load among the others that has some blocks.
const LARGE: (usize, usize) = (13, 5);
const LARGE_ROWS: usize = 3000;

/// How many rows a load has. None: it was taken back.
fn row_count(day: usize, source: usize) -> usize {
    let none = day % 9 == 4 && source % 5 == 2;
    if (day, source) == LARGE {
        LARGE_ROWS
    } else if none {
        0
    } else {
        1 + (7 * day + 3 * source) % 5
    }
}

/// Assets in the order of the report: by day, source and row.
fn loads() -> impl Iterator<Item = (usize, usize, Vec<String>)> {
    let ids = |day, source| (0..row_count(day, source)).map(|n| format!("{day:02}-{source:02}-{n:04}")).collect();
    (0..DAYS).flat_map(move |day| (0..SOURCES).map(move |source| (day, source, ids(day, source))))
}

/// More loads than are read at a time. The database has them in another order than the report.
async fn served() -> (Database, Server) {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    for source in (0..SOURCES).rev() {
        let row = |day: usize, id: &str| Row::on(&format!("2022-02-{:02}", day + 1), "1.25").asset(id);
        let of_source = || loads().filter(|(_, of, _)| *of == source);
        let kept: Vec<Row> =
            of_source().flat_map(|(day, _, ids)| ids.into_iter().map(move |id| row(day, &id))).collect();
        let gone = of_source().filter(|(.., ids)| ids.is_empty()).map(|(day, ..)| row(day, "gone"));
        let name = format!("source-{source:02}");
        database.import_from(&name, &csv(&[kept.clone(), gone.collect()].concat())).await;
        for (day, ..) in of_source().filter(|(.., ids)| ids.is_empty()) {
            let day = format!("2022-02-{:02}", day + 1);
            let mut command = program();
            command.args(["withdraw", "--tenant", TENANT, "--source", &name, "--day", &day]);
            let (ok, out, log) = run(command.env("DATABASE_URL", &database.url));
            assert!(ok, "{out}{log}");
        }
    }
    let server = database.serve();
    (database, server)
}

#[tokio::test]
async fn records_are_in_order_and_every_position_is_found_again() {
    let (_database, server) = served().await;
    let expected: Vec<String> = loads().flat_map(|(.., ids)| ids).collect();
    let whole = stream(&server, request()).await.unwrap();
    assert!(ids(&whole) == expected);
    // Messages go over loads: before the large one, there are few.
    let before =
        loads().take_while(|&(day, source, _)| (day, source) != LARGE).map(|(.., ids)| ids.len()).sum::<usize>();
    assert!(whole[0].records.len() > before / 2, "{} of {before}", whole[0].records.len());
    for cut in 0..whole.len() - 1 {
        let resume_token = whole[cut].resume_token.clone();
        let rest = stream(&server, GetDetailedUsageRequest { resume_token, ..request() }).await.unwrap();
        assert!([records(&whole[..=cut]), records(&rest)].concat() == records(&whole), "{cut}");
        assert_eq!(rest.last().unwrap().summary, whole.last().unwrap().summary);
    }
}

#[tokio::test]
async fn assets_of_few_loads_are_found() {
    let (_database, server) = served().await;
    let all: Vec<String> = loads().flat_map(|(.., ids)| ids).collect();
    for wanted in
        [vec![0], vec![all.len() - 1], vec![3, 200, 1700, 2900, all.len() - 2], (0..all.len()).step_by(7).collect()]
    {
        let asset_ids: Vec<String> = wanted.iter().map(|&index: &usize| all[index].clone()).collect();
        for asset_ids in asset_ids.chunks(900) {
            let filter = Some(UsageFilter { asset_ids: asset_ids.to_vec(), ..Default::default() });
            let request = GetDetailedUsageRequest { filter, ..request() };
            let found = stream(&server, request.clone()).await.unwrap();
            assert!(ids(&found) == asset_ids);
            let resume_token = found[0].resume_token.clone();
            let rest = stream(&server, GetDetailedUsageRequest { resume_token, ..request }).await.unwrap();
            assert!([ids(&found[..1]), ids(&rest)].concat() == asset_ids);
        }
    }
}
