//! What belongs to another organization is not there: not in lists, totals, errors or tokens, and not by its answer.

use jsonwebtoken::Algorithm;
use secure_connect_reports::{
    auth::Role,
    client::{Client, ClientConfig, UsageQuery},
    contract::proto::{
        GetCostBreakdownRequest, GetDetailedUsageRequest, GetMonthlyCostsRequest, ImportUsageRequest,
        ListTenantsRequest, UsageRecord, reports_service_client::ReportsServiceClient,
        usage_import_service_client::UsageImportServiceClient,
    },
    store::{Hidden, Lookup, Store},
};
use tonic::{Code, Status, transport::Channel};

use crate::support::{
    Database, Server,
    builder::{CATALOG, HOURS, HOURS_ID, ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
    calls::{cost_breakdown, detailed_usage, monthly_costs, reason, request, seen},
    issuer::{Issuer, Signer, member},
};

const NOWHERE: &str = "bbbbbbbb-0000-4000-8000-00000000ffff";
const NOBODY: &str = "aaaaaaaa-0000-4000-8000-00000000ffff";

/// A server with usage of both organizations, and calls as a member of one.
struct Scene {
    _database: Database,
    server: Server,
    issuer: Issuer,
    key: Signer,
    channel: Channel,
}

impl Scene {
    async fn new() -> Self {
        let database = Database::migrated();
        database.apply(CATALOG).await;
        let foreign = |row: Row| row.with("organizationId", ORG_EUR).with("tenantId", TENANT_EUR);
        let mut rows: Vec<Row> = (0..1200).map(|n| Row::on("2022-02-01", "1").asset(&format!("{n:05}"))).collect();
        rows.extend((0..1200).map(|n| foreign(Row::on("2022-02-01", "2").asset(&format!("{n:05}")))));
        rows.push(Row::on("2022-02-01", "3").with("tenantId", TENANT_2));
        database.import(&csv(&rows)).await;
        let key = Signer::new(Algorithm::EdDSA, "ed");
        let issuer = Issuer::start(&[&key]).await;
        let server = database.serve_with(issuer.auth());
        let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
        Self { _database: database, server, issuer, key, channel }
    }

    fn token(&self, organizations: &[&str]) -> String {
        self.key.sign(&self.issuer.claims(organizations))
    }

    fn bearer(&self, organizations: &[&str]) -> String {
        format!("Bearer {}", self.token(organizations))
    }

    fn reports(&self) -> ReportsServiceClient<Channel> {
        ReportsServiceClient::new(self.channel.clone())
    }

    async fn usage(&self, as_member: &[&str], message: GetDetailedUsageRequest) -> Result<String, Status> {
        let stream = self.reports().get_detailed_usage(request(message, &[&self.bearer(as_member)])).await;
        Ok(stream?.into_inner().message().await?.unwrap().resume_token)
    }

    async fn costs(&self, as_member: &[&str], message: GetMonthlyCostsRequest) -> Result<usize, Status> {
        let costs = self.reports().get_monthly_costs(request(message, &[&self.bearer(as_member)])).await?;
        Ok(costs.into_inner().lines.len())
    }

    async fn breakdown(&self, as_member: &[&str], message: GetCostBreakdownRequest) -> Result<usize, Status> {
        let stream = self.reports().get_cost_breakdown(request(message, &[&self.bearer(as_member)])).await;
        let mut stream = stream?.into_inner();
        let mut rows = 0;
        while let Some(message) = stream.message().await? {
            rows += message.rows.len();
        }
        Ok(rows)
    }

    async fn names(&self, as_member: &[&str], message: ListTenantsRequest) -> (Vec<String>, i64) {
        let page =
            self.reports().list_tenants(request(message, &[&self.bearer(as_member)])).await.unwrap().into_inner();
        (page.tenants.into_iter().map(|tenant| tenant.name).collect(), page.total_size)
    }

    async fn import(&self, as_member: &[&str], record: UsageRecord) -> Result<i64, Status> {
        let messages = tokio_stream::iter([ImportUsageRequest { records: vec![record], ..Default::default() }]);
        let mut imports = UsageImportServiceClient::new(self.channel.clone());
        let report = imports.import_usage(request(messages, &[&self.bearer(as_member)])).await?;
        Ok(report.into_inner().record_count)
    }
}

pub(crate) fn record(organization: &str, tenant: &str) -> UsageRecord {
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    UsageRecord {
        organization_id: organization.to_owned(),
        tenant_id: tenant.to_owned(),
        asset_name: "Joe".to_owned(),
        asset_id: "joe".to_owned(),
        asset_type: 1,
        meter_name: HOURS.to_owned(),
        meter_id: HOURS_ID.to_owned(),
        start: time(1_644_192_000),
        end: time(1_644_195_600),
        quantity: "1".to_owned(),
        billing_region: 3,
        ..Default::default()
    }
}

#[tokio::test]
async fn lists_and_totals_count_what_is_ones_own() {
    let scene = Scene::new().await;
    let all = ListTenantsRequest::default;
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(scene.names(&[ORG_EUR], all()).await, (names(&["zeta-hq"]), 1));
    assert_eq!(scene.names(&[ORG], all()).await, (names(&["acme-hq", "acme-lab"]), 2));
    assert_eq!(scene.names(&[ORG, ORG_EUR], all()).await.1, 3);
    assert_eq!(scene.names(&["*"], all()).await.1, 3);
    assert_eq!(scene.names(&[NOBODY], all()).await, (names(&[]), 0));
    for search in ["acme", TENANT, "hq"] {
        let found = scene.names(&[ORG_EUR], ListTenantsRequest { search: search.to_owned(), ..all() }).await;
        assert_eq!(found, if search == "hq" { (names(&["zeta-hq"]), 1) } else { (names(&[]), 0) }, "{search}");
    }
    for organization in [ORG, NOBODY] {
        let of = ListTenantsRequest { organization_id: organization.to_owned(), ..all() };
        assert_eq!(scene.names(&[ORG_EUR], of).await, (names(&[]), 0));
    }
}

#[tokio::test]
async fn a_page_token_of_another_scope_shows_nothing_more() {
    let scene = Scene::new().await;
    let first = ListTenantsRequest { page_size: 1, ..Default::default() };
    let page =
        scene.reports().list_tenants(request(first.clone(), &[&scene.bearer(&["*"])])).await.unwrap().into_inner();
    assert_eq!((page.tenants[0].name.as_str(), page.total_size), ("acme-hq", 3));
    let next = ListTenantsRequest { page_token: page.next_page_token, page_size: 100, ..Default::default() };
    assert_eq!(scene.names(&[ORG_EUR], next.clone()).await, (vec!["zeta-hq".to_owned()], 1));
    assert_eq!(scene.names(&[NOBODY], next).await, (vec![], 0));

    let costs = GetMonthlyCostsRequest { page_size: 1, ..monthly_costs(ORG) };
    let page =
        scene.reports().get_monthly_costs(request(costs.clone(), &[&scene.bearer(&[ORG])])).await.unwrap().into_inner();
    let next = GetMonthlyCostsRequest { page_token: page.next_page_token, ..costs };
    assert_eq!(scene.costs(&[ORG], next.clone()).await.unwrap(), 1);
    let status = scene.costs(&[ORG_EUR], next).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "ORGANIZATION_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn what_is_foreign_is_answered_as_what_does_not_exist() {
    let scene = Scene::new().await;
    let foreign_token = scene.usage(&[ORG], detailed_usage(TENANT)).await.unwrap();
    assert!(!foreign_token.is_empty());
    let resumed =
        |tenant: &str| GetDetailedUsageRequest { resume_token: foreign_token.clone(), ..detailed_usage(tenant) };
    let as_of = |tenant: &str| GetDetailedUsageRequest {
        as_of: Some(prost_types::Timestamp { seconds: 1_600_000_000, nanos: 0 }),
        ..detailed_usage(tenant)
    };
    let future = |tenant: &str| GetDetailedUsageRequest {
        as_of: Some(prost_types::Timestamp { seconds: 100_000_000_000, nanos: 0 }),
        ..detailed_usage(tenant)
    };
    let unknown = scene.usage(&[ORG_EUR], detailed_usage(NOWHERE)).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "TENANT_NOT_FOUND".to_owned()));
    for message in [
        detailed_usage(TENANT),
        detailed_usage(TENANT_2),
        as_of(TENANT),
        as_of(NOWHERE),
        future(TENANT),
        future(NOWHERE),
        resumed(TENANT),
    ] {
        let foreign = scene.usage(&[ORG_EUR], message.clone()).await.unwrap_err();
        assert_eq!(seen(&foreign), seen(&unknown), "{message:?}");
    }
    // A token is bound to its tenant, which is told before anyone looks whether the tenant exists.
    let bound = scene.usage(&[ORG_EUR], resumed(NOWHERE)).await.unwrap_err();
    assert_eq!(seen(&bound), seen(&scene.usage(&[ORG_EUR], resumed(TENANT_2)).await.unwrap_err()));
    assert_eq!(bound.code(), Code::InvalidArgument);
    // The owner of the token goes on.
    assert!(scene.usage(&[ORG], resumed(TENANT)).await.is_ok());

    let unknown = scene.costs(&[ORG_EUR], monthly_costs(NOBODY)).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "ORGANIZATION_NOT_FOUND".to_owned()));
    let tenant = |organization: &str, tenant: &str| GetMonthlyCostsRequest {
        tenant_id: tenant.to_owned(),
        ..monthly_costs(organization)
    };
    for message in [monthly_costs(ORG), tenant(ORG, TENANT), tenant(ORG, NOWHERE), tenant(NOBODY, TENANT)] {
        let foreign = scene.costs(&[ORG_EUR], message.clone()).await.unwrap_err();
        assert_eq!(seen(&foreign), seen(&unknown), "{message:?}");
    }
    // Within one's own organization, too, another's tenant is as good as none.
    let foreign = scene.costs(&[ORG_EUR], tenant(ORG_EUR, TENANT)).await.unwrap_err();
    let unknown = scene.costs(&[ORG_EUR], tenant(ORG_EUR, NOWHERE)).await.unwrap_err();
    assert_eq!(seen(&foreign), seen(&unknown));
    assert_eq!(reason(&foreign).1, "TENANT_NOT_FOUND");
}

#[tokio::test]
async fn what_is_foreign_has_no_parts_either() {
    let scene = Scene::new().await;
    let future = Some(prost_types::Timestamp { seconds: 100_000_000_000, nanos: 0 });
    let filter = Some(secure_connect_reports::contract::proto::BreakdownFilter {
        meter_names: vec!["no such meter".to_owned()],
        ..Default::default()
    });
    let of = |organization: &str, tenant: &str| GetCostBreakdownRequest {
        tenant_id: tenant.to_owned(),
        ..cost_breakdown(organization, &[1])
    };
    let unknown = scene.breakdown(&[ORG_EUR], of(NOBODY, "")).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "ORGANIZATION_NOT_FOUND".to_owned()));
    for message in [of(ORG, ""), of(ORG, TENANT), of(ORG, NOWHERE), of(NOBODY, TENANT), of(ORG, TENANT_EUR)] {
        for message in [
            message.clone(),
            GetCostBreakdownRequest { as_of: future, ..message.clone() },
            GetCostBreakdownRequest { filter: filter.clone(), ..message },
        ] {
            let foreign = scene.breakdown(&[ORG_EUR], message.clone()).await.unwrap_err();
            assert_eq!(seen(&foreign), seen(&unknown), "{message:?}");
        }
    }
    let unknown = scene.breakdown(&[ORG_EUR], of("", NOWHERE)).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "TENANT_NOT_FOUND".to_owned()));
    for message in [of("", TENANT), of("", TENANT_2), of(ORG_EUR, TENANT), of(ORG_EUR, NOWHERE)] {
        let foreign = scene.breakdown(&[ORG_EUR], message.clone()).await.unwrap_err();
        assert_eq!(seen(&foreign), seen(&unknown), "{message:?}");
    }
    // One's own is there: 1200 assets each, and one of another tenant.
    for (organizations, message, rows) in [
        (&[ORG_EUR][..], of(ORG_EUR, ""), 1200),
        (&[ORG], of(ORG, ""), 1201),
        (&[ORG], of("", TENANT_2), 1),
        (&[ORG_EUR, ORG], of("", TENANT), 1200),
    ] {
        assert_eq!(scene.breakdown(organizations, message).await.unwrap(), rows);
    }
}

#[tokio::test]
async fn an_importer_is_kept_to_its_organizations() {
    let scene = Scene::new().await;
    assert_eq!(scene.import(&[ORG], record(ORG, TENANT)).await.unwrap(), 1);
    assert_eq!(scene.import(&["*"], record(ORG_EUR, TENANT_EUR)).await.unwrap(), 1);
    let foreign = scene.import(&[ORG_EUR], record(ORG, TENANT)).await.unwrap_err();
    assert_eq!(reason(&foreign), (Code::InvalidArgument, "INVALID_USAGE".to_owned()));
    // The same words but for the id that was sent.
    let unknown = scene.import(&[ORG_EUR], record(ORG, NOWHERE)).await.unwrap_err();
    let told = |status: &Status, tenant: &str| format!("{:?}", seen(status)).replace(tenant, "TENANT");
    let violations = |status: &Status, tenant: &str| {
        let request = tonic_types::StatusExt::get_details_bad_request(status).unwrap();
        format!("{:?}", request.field_violations).replace(tenant, "TENANT")
    };
    assert_eq!(violations(&foreign, TENANT), violations(&unknown, NOWHERE));
    assert_eq!(foreign.message(), unknown.message());
    assert!(!told(&foreign, TENANT).contains("acme"));
    // Nothing of it was published.
    let report = scene.usage(&[ORG], detailed_usage(TENANT)).await;
    assert!(report.is_ok());
}

#[tokio::test]
async fn every_query_for_tenants_keeps_to_the_scope() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let store = Store::new(&database.config()).unwrap();
    let member = member(&[ORG_EUR]).await;
    let scope = member.scope_as(Role::Reports).unwrap();
    let (own, foreign, nowhere) = (TENANT_EUR.parse().unwrap(), TENANT.parse().unwrap(), NOWHERE.parse().unwrap());
    assert!(matches!(store.find_tenant(scope, own).await.unwrap(), Lookup::Visible(_)));
    let hidden = async |tenant| store.find_tenant(scope, tenant).await.unwrap().visible().unwrap_err();
    assert_eq!((hidden(foreign).await, hidden(nowhere).await), (Hidden::OutOfScope, Hidden::Unknown));
    let hidden =
        async |id: &str| store.find_organization(scope, id.parse().unwrap()).await.unwrap().visible().unwrap_err();
    assert_eq!((hidden(ORG).await, hidden(NOBODY).await), (Hidden::OutOfScope, Hidden::Unknown));
    let importable = store.import_tenants(scope, &[own, foreign, nowhere]).await.unwrap();
    assert_eq!(importable.keys().copied().collect::<Vec<_>>(), [own]);
}

#[tokio::test]
async fn the_client_says_what_to_do_without_a_token() {
    let scene = Scene::new().await;
    let query = UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
    let mut client = Client::connect(&ClientConfig::new(scene.server.url())).await.unwrap();
    let error = client.detailed_usage(&query).await.err().unwrap().to_string();
    assert!(error.contains("SCR_TOKEN"), "{error}");
    let config = ClientConfig::new(scene.server.url()).with_token(scene.token(&[ORG]));
    let mut client = Client::connect(&config).await.unwrap();
    assert_eq!(client.detailed_usage(&query).await.unwrap().header().record_count, 1200);
}

/// Time tells, too: a search must not take longer because others have what is searched for.
#[tokio::test]
async fn a_search_within_a_scope_looks_at_nothing_of_others() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let mut catalog = String::new();
    for n in 0..5_000 {
        catalog.push_str(&format!(
            "[[tenants]]\nid = \"dddddddd-0000-4000-8000-{n:012}\"\norganization_id = \"{ORG}\"\nname = \"globex-{n}\"\n\
             plan = \"essentials\"\nstatus = \"NORMAL\"\n"
        ));
    }
    database.apply(&catalog).await;
    let sql = database.sql().await;
    sql.batch_execute("ANALYZE tenant").await.unwrap();
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let mut reports = ReportsServiceClient::new(Channel::from_shared(server.url()).unwrap().connect().await.unwrap());
    let mut search = async |organizations: &[&str], text: &str| {
        let bearer = format!("Bearer {}", key.sign(&issuer.claims(organizations)));
        let message = ListTenantsRequest { search: text.to_owned(), ..Default::default() };
        reports.list_tenants(request(message, &[&bearer])).await.unwrap().into_inner().total_size
    };
    // How many tenants were looked at, by whatever plan. The database tells that a second later.
    let looked_at = async || {
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        // What an index alone answers is counted with the index.
        let query = "SELECT (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables
                             WHERE relname IN ('tenant', 'tenant_name_suffix', 'organization_name_suffix'))::bigint
                          + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes
                             WHERE relname IN ('tenant_name_suffix', 'organization_name_suffix'))::bigint";
        sql.query_one(query, &[]).await.unwrap().get::<_, i64>(0)
    };
    let before = looked_at().await;
    for text in ["globex-4711", "globex", "nothing-at-all", "zeta"] {
        assert_eq!(search(&[ORG_EUR], text).await, i64::from(text == "zeta"), "{text}");
    }
    let by_member = looked_at().await - before;
    assert!(by_member <= 50, "{by_member} tenants were looked at for searches among one");
    // A search of the staff does look at them, so it would have been told. (PostgreSQL 14 tells with the next statement.)
    let mut tries = 0;
    loop {
        assert_eq!(search(&["*"], "globex").await, 5_000);
        if looked_at().await - before >= 5_000 {
            break;
        }
        tries += 1;
        assert!(tries < 10, "what is looked at is never told");
    }
}
