//! `ListLoads` and `GetTenant`: what there is, when it came, and what became of it.

use secure_connect_reports::contract::proto::{
    BillState, GetTenantRequest, ListLoadsRequest, Load, LoadState, WithdrawUsageRequest,
    usage_import_service_client::UsageImportServiceClient,
};
use tonic::{Code, transport::Channel};

use crate::{
    statements::books::{Books, month, name, present},
    support::builder::{Row, TENANT, TENANT_EUR, csv},
};

fn request() -> ListLoadsRequest {
    ListLoadsRequest { tenant_id: TENANT.to_owned(), month: month("2022-02"), ..Default::default() }
}

async fn loads(books: &Books, request: ListLoadsRequest) -> Vec<Load> {
    let answer = books.server.stub().await.list_loads(request).await.expect("loads").into_inner();
    assert_eq!(answer.next_page_token, "");
    answer.loads
}

/// Day, source, state, records and what was superseded.
fn short(loads: &[Load]) -> Vec<(&str, &str, LoadState, i64, i64)> {
    let short = |load: &Load| (load.state(), load.record_count, load.superseded_record_count);
    loads
        .iter()
        .map(|load| {
            let (state, records, superseded) = short(load);
            (load.usage_day.as_str(), load.source.as_str(), state, records, superseded)
        })
        .collect()
}

async fn withdraw(books: &Books, day: &str) {
    let channel = Channel::from_shared(books.server.url()).unwrap().connect().await.unwrap();
    let request =
        WithdrawUsageRequest { tenant_id: TENANT.to_owned(), usage_day: day.to_owned(), source: String::new() };
    UsageImportServiceClient::new(channel).withdraw_usage(request).await.expect("a withdrawal");
}

#[tokio::test]
async fn each_load_says_when_it_came_from_whom_and_what_became_of_it() {
    let books = Books::open().await;
    let row = |day: &str, asset: &str| Row::on(day, "1").asset(asset);
    books.database.import(&csv(&[row("2022-02-01", "a"), row("2022-02-02", "a")])).await;
    let first = present(&books.database).await;
    books.database.import(&csv(&[row("2022-02-01", "a"), row("2022-02-01", "b")])).await;
    books.database.import_from("mobile", &csv(&[row("2022-02-01", "m")])).await;
    withdraw(&books, "2022-02-02").await;
    // Of another month, and of another tenant.
    books
        .database
        .import(&csv(&[
            row("2022-03-01", "a"),
            row("2022-02-01", "z").with("tenantId", crate::support::builder::TENANT_2),
        ]))
        .await;

    let all = loads(&books, request()).await;
    use LoadState::{InForce, Superseded, Withdrawn};
    assert_eq!(
        short(&all),
        [
            ("2022-02-01", "default", Superseded, 1, 0),
            ("2022-02-01", "default", InForce, 2, 1),
            ("2022-02-01", "mobile", InForce, 1, 0),
            ("2022-02-02", "default", Superseded, 1, 0),
            ("2022-02-02", "default", Withdrawn, 0, 1),
        ]
    );
    assert_eq!((all[0].superseded_at, all[1].superseded_load_published_at), (all[1].published_at, all[0].published_at));
    assert_eq!((all[0].superseded_load_published_at, all[1].superseded_at), (None, None));
    assert_eq!((all[1].imported_by.as_str(), all[1].file_name.as_str()), ("test", "test.csv"));
    assert_eq!((all[4].imported_by.as_str(), all[4].file_name.as_str()), ("insecure-local", "WithdrawUsage"));
    assert!(all.iter().all(|load| load.digest.len() == 64 && !load.purged));
    let then = loads(&books, ListLoadsRequest { as_of: Some(first), ..request() }).await;
    assert_eq!(short(&then), [("2022-02-01", "default", InForce, 1, 0), ("2022-02-02", "default", InForce, 1, 0)]);
    let client = books.server.client().await.loads(TENANT.parse().unwrap(), "2022-02".parse().unwrap(), None).await;
    assert_eq!(client.unwrap(), all);
}

#[tokio::test]
async fn pages_show_one_state() {
    let books = Books::open().await;
    let rows: Vec<Row> = (1..=7).map(|day| Row::on(&format!("2022-02-{day:02}"), "1")).collect();
    books.database.import(&csv(&rows)).await;
    let whole = loads(&books, request()).await;
    let mut paged = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = ListLoadsRequest { page_size: 2, page_token, ..request() };
        let page = books.server.stub().await.list_loads(page).await.unwrap().into_inner();
        assert!(page.loads.len() <= 2);
        paged.extend(page.loads);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        // What is published between two pages is on no later one.
        books.database.import(&csv(&[Row::on("2022-02-07", &paged.len().to_string())])).await;
    }
    assert_eq!(paged, whole);
    let refused = async |request| books.server.stub().await.list_loads(request).await.unwrap_err().code();
    let of_other = ListLoadsRequest { page_size: 2, ..request() };
    let token = books.server.stub().await.list_loads(of_other).await.unwrap().into_inner().next_page_token;
    let other = ListLoadsRequest { tenant_id: TENANT_EUR.to_owned(), page_token: token, ..request() };
    assert_eq!(refused(other).await, Code::InvalidArgument);
    assert_eq!(refused(ListLoadsRequest { page_size: -1, ..request() }).await, Code::InvalidArgument);
    assert_eq!(refused(ListLoadsRequest { month: None, ..request() }).await, Code::InvalidArgument);
}

#[tokio::test]
async fn a_tenant_has_its_months_open_and_closed() {
    let books = Books::open().await;
    books
        .database
        .import(&csv(&[Row::on("2022-01-01", "1"), Row::on("2022-02-01", "1"), Row::on("2022-02-02", "1")]))
        .await;
    books.database.import(&csv(&[Row::on("2022-03-01", "1")])).await;
    let before = present(&books.database).await;
    books.close("2022-01").await;
    books.close("2022-02").await;
    withdraw(&books, "2022-03-01").await;
    books.database.import(&csv(&[Row::on("2022-04-01", "1")])).await;
    let tenant = async |as_of| {
        let request = GetTenantRequest { tenant_id: TENANT.to_owned(), as_of };
        books.server.stub().await.get_tenant(request).await.unwrap().into_inner()
    };
    let now = tenant(None).await;
    let summary = now.tenant.as_ref().unwrap();
    assert_eq!((summary.name.as_str(), summary.organization_name.as_str()), ("acme-hq", "Acme"));
    let months_of_now: Vec<_> = now
        .months
        .iter()
        .map(|month| (name(month.month), month.record_count, month.state(), month.statement_number.as_str()))
        .collect();
    let (closed, open) = (BillState::Closed, BillState::Open);
    assert_eq!(
        months_of_now,
        [
            ("2022-01".to_owned(), 1, closed, "2022-01-000001"),
            ("2022-02".to_owned(), 2, closed, "2022-02-000002"),
            ("2022-04".to_owned(), 1, open, ""),
        ]
    );
    let costs = books.costs("2022-02", "2022-02").await;
    assert_eq!(now.months[1].revision, costs.tenant_months[0].revision);
    assert_eq!(now.months[1].data_as_of, costs.tenant_months[0].data_as_of);
    let then = tenant(Some(before)).await;
    let months: Vec<_> = then.months.iter().map(|month| (name(month.month), month.state())).collect();
    let month = |month: &str| (month.to_owned(), open);
    assert_eq!(months, [month("2022-01"), month("2022-02"), month("2022-03")]);
    let by_client = books.server.client().await.tenant_usage(TENANT.parse().unwrap(), None).await.unwrap();
    let by_client: Vec<_> = by_client
        .months
        .iter()
        .map(|month| (month.month.to_string(), month.record_count as i64, month.state, month.statement_number.as_str()))
        .collect();
    assert_eq!(by_client, months_of_now);
}
