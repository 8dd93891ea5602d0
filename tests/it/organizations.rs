//! `ListOrganizations`: those that one may see, in pages.

use secure_connect_reports::contract::proto::{ListOrganizationsRequest, ListOrganizationsResponse, Organization};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, ORG_EUR},
    calls::request,
    issuer::{Issuer, Signer},
    program, run,
};

async fn list(server: &Server, request: ListOrganizationsRequest) -> Result<ListOrganizationsResponse, Status> {
    server.stub().await.list_organizations(request).await.map(tonic::Response::into_inner)
}

fn organization(id: &str, name: &str, currency: &str) -> Organization {
    let (organization_id, name, currency) = (id.to_owned(), name.to_owned(), currency.to_owned());
    Organization { organization_id, name, currency }
}

/// Organizations by their names, each with a number of its own.
fn catalog(names: &[&str]) -> String {
    let entry = |(n, name): (usize, &&str)| {
        format!("[[organizations]]\nid = \"dddddddd-0000-4000-8000-{n:012}\"\nname = \"{name}\"\ncurrency = \"JPY\"\n")
    };
    names.iter().enumerate().map(entry).collect()
}

#[tokio::test]
async fn organizations_are_listed_with_their_currencies() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let answer = list(&server, ListOrganizationsRequest::default()).await.unwrap();
    assert_eq!(answer.organizations, [organization(ORG, "Acme", "USD"), organization(ORG_EUR, "Zeta", "EUR")]);
    assert_eq!((answer.total_size, answer.next_page_token.as_str()), (2, ""));
    assert_eq!(server.client().await.organizations().await.unwrap(), answer.organizations);
}

/// By the bytes of their names, whatever the database's locale, and namesakes by their ids.
#[tokio::test]
async fn pages_follow_each_other_in_the_order_of_names_and_ids() {
    let names = ["b", "a", "Ärger", "same", "Z", "same", "東京", "a b", "same"];
    let database = Database::migrated();
    database.apply(&catalog(&names)).await;
    let server = database.serve();
    let mut expected: Vec<(&str, usize)> = names.iter().copied().zip(0..).collect();
    expected.sort_unstable();
    for page_size in [1, 2, 4, 8, 9, 0] {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let answer = list(&server, ListOrganizationsRequest { page_size, page_token }).await.unwrap();
            assert_eq!(answer.total_size, 9);
            assert!(page_size == 0 || answer.organizations.len() <= usize::try_from(page_size).unwrap());
            found.extend(answer.organizations);
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let found: Vec<(&str, usize)> = found
            .iter()
            .map(|one| (one.name.as_str(), one.organization_id.rsplit('-').next().unwrap().parse().unwrap()))
            .collect();
        assert_eq!(found, expected, "{page_size}");
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    for (wrong, field) in [
        (ListOrganizationsRequest { page_size: -1, ..Default::default() }, "page_size"),
        (ListOrganizationsRequest { page_token: "x".to_owned(), ..Default::default() }, "page_token"),
    ] {
        let status = list(&server, wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_or_counts_organizations_of_others() {
    let database = Database::with_catalog().await;
    let key = Signer::new(jsonwebtoken::Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let nobody = "aaaaaaaa-0000-4000-8000-00000000ffff";
    for (organizations, expected) in [
        (&["*"][..], &["Acme", "Zeta"][..]),
        (&[ORG], &["Acme"]),
        (&[ORG_EUR], &["Zeta"]),
        (&[ORG_EUR, ORG, nobody], &["Acme", "Zeta"]),
        (&[nobody], &[]),
    ] {
        let token = format!("Bearer {}", key.sign(&issuer.claims(organizations)));
        let answer = server.stub().await.list_organizations(request(Default::default(), &[&token])).await.unwrap();
        let answer = answer.into_inner();
        let names: Vec<&str> = answer.organizations.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, expected, "{organizations:?}");
        assert_eq!(usize::try_from(answer.total_size).unwrap(), expected.len());
    }
    // Nor by the page token of somebody else.
    let first = ListOrganizationsRequest { page_size: 1, ..Default::default() };
    let staff = format!("Bearer {}", key.sign(&issuer.claims(&["*"])));
    let page = server.stub().await.list_organizations(request(first, &[&staff])).await.unwrap().into_inner();
    let next = ListOrganizationsRequest { page_token: page.next_page_token, ..Default::default() };
    let acme = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    let page = server.stub().await.list_organizations(request(next, &[&acme])).await.unwrap().into_inner();
    assert_eq!((page.organizations.len(), page.total_size), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_lists_organizations() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let server = database.serve();
    let ask = |format: &str| {
        let mut command = program();
        command.args(["organizations", "--format", format]).env("SCR_SERVER", server.url());
        run(&mut command)
    };
    let (ok, table, log) = ask("table");
    assert!(ok && log == "2 organizations\n", "{log}");
    let expected = [
        " ORGANIZATION  ORGANIZATION ID                       CURRENCY",
        " Acme          aaaaaaaa-0000-4000-8000-000000000001  USD",
        " Zeta          aaaaaaaa-0000-4000-8000-000000000002  EUR",
    ];
    assert_eq!(table.lines().collect::<Vec<_>>(), expected);
    let (_, csv, _) = ask("csv");
    assert_eq!(csv, format!("organizationId,name,currency\n{ORG},Acme,USD\n{ORG_EUR},Zeta,EUR\n"));
    let (_, json, _) = ask("json");
    let expected = serde_json::json!([
        { "organizationId": ORG, "name": "Acme", "currency": "USD" },
        { "organizationId": ORG_EUR, "name": "Zeta", "currency": "EUR" },
    ]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), expected);
}
