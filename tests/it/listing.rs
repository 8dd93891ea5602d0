//! `ListTenants`: search, pages, and what each tenant says of itself.

use secure_connect_reports::contract::proto::{
    ListTenantsRequest, ListTenantsResponse, Tenant, TenantStatus, YearMonth,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, ORG_EUR, Row, TENANT, TENANT_2, csv},
};

async fn list(server: &Server, request: ListTenantsRequest) -> Result<ListTenantsResponse, Status> {
    server.stub().await.list_tenants(request).await.map(tonic::Response::into_inner)
}

async fn found(server: &Server, search: &str) -> Vec<String> {
    let answer = list(server, ListTenantsRequest { search: search.to_owned(), ..Default::default() }).await.unwrap();
    assert_eq!(usize::try_from(answer.total_size).unwrap(), answer.tenants.len());
    answer.tenants.into_iter().map(|tenant| tenant.name).collect()
}

fn catalog(names: &[&str]) -> String {
    let mut text = format!("[[organizations]]\nid = \"{ORG}\"\nname = \"Straße & Söhne\"\ncurrency = \"EUR\"\n");
    for (n, name) in names.iter().enumerate() {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&format!(
            "[[tenants]]\nid = \"dddddddd-0000-4000-8000-{n:012}\"\norganization_id = \"{ORG}\"\nname = \"{name}\"\n\
             plan = \"essentials\"\nstatus = \"NORMAL\"\n"
        ));
    }
    text
}

#[tokio::test]
async fn a_tenant_tells_all_that_a_month_picker_needs() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let rows = [Row::on("2021-12-31", "1"), Row::on("2022-02-01", "1"), Row::on("2022-01-15", "1")];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let answer = list(&server, ListTenantsRequest::default()).await.unwrap();
    let names: Vec<_> = answer.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["acme-hq", "acme-lab", "zeta-hq"]);
    assert_eq!((answer.total_size, answer.next_page_token.as_str()), (3, ""));
    assert_eq!(
        answer.tenants[0],
        Tenant {
            tenant_id: TENANT.to_owned(),
            name: "acme-hq".to_owned(),
            organization_id: ORG.to_owned(),
            organization_name: "Acme".to_owned(),
            status: TenantStatus::Normal.into(),
            plan: "essentials".to_owned(),
            trial: false,
            trial_expiry: None,
            first_usage_month: Some(YearMonth { year: 2021, month: 12 }),
            last_usage_month: Some(YearMonth { year: 2022, month: 2 }),
        }
    );
    let lab = &answer.tenants[1];
    assert_eq!((lab.tenant_id.as_str(), lab.status(), lab.trial), (TENANT_2, TenantStatus::Suspended, true));
    assert_eq!(lab.trial_expiry.map(|expiry| expiry.seconds), Some(1_644_883_200));
    assert_eq!((lab.first_usage_month, lab.last_usage_month), (None, None));
}

#[tokio::test]
async fn search_takes_every_character_as_itself() {
    let database = Database::migrated();
    let names = ["100% sure", "a_b", "back\\slash", "it's \"quoted\"", "plain", "ÄRGER", "東京-main", "x*y.z"];
    database.apply(&catalog(&names)).await;
    let server = database.serve();
    for (search, expected) in [
        ("%", vec!["100% sure"]),
        ("100%", vec!["100% sure"]),
        ("_", vec!["a_b"]),
        ("a_b", vec!["a_b"]),
        ("\\", vec!["back\\slash"]),
        ("'", vec!["it's \"quoted\""]),
        ("\"QUOTED\"", vec!["it's \"quoted\""]),
        ("PLAIN", vec!["plain"]),
        ("ärger", vec!["ÄRGER"]),
        ("東京", vec!["東京-main"]),
        ("*", vec!["x*y.z"]),
        (".", vec!["x*y.z"]),
        ("plainx", vec![]),
        ("' OR 1=1 --", vec![]),
        // An id, and no text that reaches from the name into the id.
        ("dddddddd-0000-4000-8000-000000000004", vec!["plain"]),
        ("DDDDDDDD-0000-4000-8000-000000000004", vec!["plain"]),
        ("0-8000-000000000004", vec!["plain"]),
        ("04", vec!["plain"]),
        ("plain\u{1f}dddddddd", vec![]),
        ("\u{1f}", vec![]),
        ("\n", vec![]),
    ] {
        assert_eq!(found(&server, search).await, expected, "{search:?}");
    }
    let mut everything = names.to_vec();
    everything.sort_unstable();
    assert_eq!(found(&server, "").await, everything);
    assert_eq!(found(&server, "STRASSE").await, [""; 0], "ß and ss are two things");
    assert_eq!(found(&server, "söhne").await, everything);
    assert_eq!(found(&server, &"%_\\'".repeat(64)).await, [""; 0]);

    let status =
        list(&server, ListTenantsRequest { search: "a\0b".to_owned(), ..Default::default() }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "search");
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_double() {
    let database = Database::migrated();
    let names: Vec<String> = (0..250).map(|n| format!("tenant-{:03}", n / 2)).collect();
    database.apply(&catalog(&names.iter().map(String::as_str).collect::<Vec<_>>())).await;
    let server = database.serve();
    let page = async |page_size, page_token: &str| {
        list(&server, ListTenantsRequest { page_size, page_token: page_token.to_owned(), ..Default::default() }).await
    };
    for (page_size, sizes) in [(0, vec![100, 100, 50]), (125, vec![125, 125]), (1000, vec![250]), (i32::MAX, vec![250])]
    {
        let mut ids = Vec::new();
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let answer = page(page_size, &token).await.unwrap();
            assert_eq!(answer.total_size, 250);
            found.push(answer.tenants.len());
            ids.extend(answer.tenants.into_iter().map(|tenant| (tenant.name, tenant.tenant_id)));
            token = answer.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, sizes);
        assert!(ids.is_sorted() && ids.len() == 250);
        ids.dedup();
        assert_eq!(ids.len(), 250);
    }

    let token = page(10, "").await.unwrap().next_page_token;
    let field = |status: Status| status.get_details_bad_request().unwrap().field_violations[0].field.clone();
    assert_eq!(field(page(-1, "").await.unwrap_err()), "page_size");
    assert_eq!(field(page(10, "x").await.unwrap_err()), "page_token");
    let other = ListTenantsRequest { search: "t".to_owned(), page_token: token.clone(), ..Default::default() };
    assert_eq!(field(list(&server, other).await.unwrap_err()), "page_token");
    let other = ListTenantsRequest { organization_id: ORG.to_owned(), page_token: token, ..Default::default() };
    assert_eq!(field(list(&server, other).await.unwrap_err()), "page_token");
}

#[tokio::test]
async fn a_search_finds_all_whether_they_are_few_or_many() {
    let database = Database::migrated();
    let names: Vec<String> = (0..4100).map(|n| format!("tenant-{n:04}")).collect();
    database.apply(&catalog(&names.iter().map(String::as_str).collect::<Vec<_>>())).await;
    // An organization whose own name is found as those of its tenants are.
    let mut others = format!("[[organizations]]\nid = \"{ORG_EUR}\"\nname = \"tenant-9\"\ncurrency = \"EUR\"\n");
    let other_names: Vec<String> = (0..30).map(|n| format!("tenant-90{n:02}")).collect();
    for (n, name) in other_names.iter().enumerate() {
        others.push_str(&format!(
            "[[tenants]]\nid = \"eeeeeeee-0000-4000-8000-{n:012}\"\norganization_id = \"{ORG_EUR}\"\nname = \"{name}\"\n\
             plan = \"essentials\"\nstatus = \"NORMAL\"\n"
        ));
    }
    database.apply(&others).await;
    let server = database.serve();
    let all = [&names[..], &other_names].concat();
    // Up to 4000 matches are found in one way, more of them in another.
    for (search, organization_id, expected) in [
        ("tenant-", "", &all[..]),
        ("tenant-", ORG, &names),
        ("tenant-", ORG_EUR, &other_names),
        ("tenant-0", "", &names[..1000]),
        ("tenant-0", ORG_EUR, &[]),
        ("tenant-9", "", &other_names),
        ("tenant-9", ORG, &[]),
        ("tenant-901", ORG_EUR, &other_names[10..20]),
        ("tenant-401", "", &names[4010..4020]),
        ("tenant-401", ORG, &names[4010..4020]),
        ("x", "", &[]),
    ] {
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListTenantsRequest {
                search: search.to_owned(),
                organization_id: organization_id.to_owned(),
                page_size: if expected.len() < 50 { 7 } else { 500 },
                page_token,
            };
            let answer = list(&server, request).await.unwrap();
            assert_eq!(answer.total_size as usize, expected.len(), "{search} {organization_id}");
            found.extend(answer.tenants.into_iter().map(|tenant| tenant.name));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert!(found == expected, "{search} {organization_id}");
    }
}

#[tokio::test]
async fn a_list_can_be_of_one_organization() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let server = database.serve();
    let of = async |organization_id: &str| {
        list(&server, ListTenantsRequest { organization_id: organization_id.to_owned(), ..Default::default() }).await
    };
    let names: Vec<_> = of(ORG_EUR).await.unwrap().tenants.into_iter().map(|tenant| tenant.name).collect();
    assert_eq!(names, ["zeta-hq"]);
    assert_eq!(of("aaaaaaaa-0000-4000-8000-00000000ffff").await.unwrap().total_size, 0);
    assert_eq!(of("acme").await.unwrap_err().code(), Code::InvalidArgument);
}
