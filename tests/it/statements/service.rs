//! `BillingService`: who may close and see what.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use secure_connect_reports::auth::AuthConfig;
use secure_connect_reports::contract::proto::{
    CloseMonthRequest, CloseMonthResponse, CloseOutcome, GetStatementRequest, ListStatementKeysRequest,
    ListStatementsRequest, Statement, billing_service_client::BillingServiceClient,
};
use secure_connect_reports::service::{CallLimits, ServerConfig};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use super::books::{Books, month};
use crate::support::{
    Database, Server,
    builder::{ORG, ORG_EUR, Row, TENANT_EUR, csv},
    calls::{reason, request, seen},
    issuer::{Issuer, Signer},
};

const NOBODY: &str = "aaaaaaaa-0000-4000-8000-00000000ffff";

struct Scene {
    database: Database,
    _server: Server,
    issuer: Issuer,
    key: Signer,
    channel: Channel,
}

impl Scene {
    async fn new() -> Self {
        let database = Database::with_catalog().await;
        let rows = [Row::on("2022-02-01", "100"), Row::on("2022-02-01", "1").of(ORG_EUR, TENANT_EUR)];
        database.import(&csv(&rows)).await;
        let key = Signer::new(Algorithm::EdDSA, "ed");
        let issuer = Issuer::start(&[&key]).await;
        let server = database.serve_with(issuer.auth());
        let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
        Self { database, _server: server, issuer, key, channel }
    }

    fn bearer(&self, roles: &[&str], organizations: &[&str]) -> String {
        let mut claims = self.issuer.claims(organizations);
        claims["roles"] = roles.into();
        format!("Bearer {}", self.key.sign(&claims))
    }

    fn billing(&self) -> BillingServiceClient<Channel> {
        BillingServiceClient::new(self.channel.clone())
    }

    async fn close(&self, bearer: &str, organization: &str, of: &str) -> Result<CloseMonthResponse, Status> {
        let message =
            CloseMonthRequest { organization_id: organization.to_owned(), month: month(of), ..Default::default() };
        Ok(self.billing().close_month(request(message, &[bearer])).await?.into_inner())
    }

    async fn list(&self, bearer: &str, organization: &str) -> Result<Vec<Statement>, Status> {
        let message = ListStatementsRequest { organization_id: organization.to_owned(), ..Default::default() };
        Ok(self.billing().list_statements(request(message, &[bearer])).await?.into_inner().statements)
    }

    async fn get(&self, bearer: &str, organization: &str, of: &str) -> Result<Option<Statement>, Status> {
        let message = GetStatementRequest { organization_id: organization.to_owned(), billing_month: month(of) };
        let mut stream = self.billing().get_statement(request(message, &[bearer])).await?.into_inner();
        Ok(stream.message().await?.unwrap().statement)
    }
}

#[tokio::test]
async fn months_are_closed_by_whoever_has_the_role_for_the_organization() {
    let scene = Scene::new().await;
    let reader = scene.bearer(&["Reports"], &[ORG]);
    let closer = scene.bearer(&["BillingClose"], &[ORG]);
    let refused = scene.close(&reader, ORG, "2022-02").await.unwrap_err();
    assert_eq!(reason(&refused), (Code::PermissionDenied, "ROLE_MISSING".to_owned()));
    let refused = scene.list(&closer, ORG).await.unwrap_err();
    assert_eq!(reason(&refused).1, "ROLE_MISSING");
    // What is not one's own does not exist.
    let hidden = scene.close(&closer, ORG_EUR, "2022-02").await.unwrap_err();
    let unknown = scene.close(&closer, NOBODY, "2022-02").await.unwrap_err();
    assert_eq!(reason(&hidden).1, "ORGANIZATION_NOT_FOUND");
    assert_eq!(seen(&hidden), seen(&unknown));

    let closed = scene.close(&closer, ORG, "2022-02").await.unwrap();
    assert_eq!((closed.outcome(), closed.amount_due.as_str()), (CloseOutcome::Closed, "1.00"));
    let statement = closed.statement.unwrap();
    assert_eq!((statement.number.as_str(), statement.closed_by.as_str()), ("2022-02-000001", "joe"));
    let again = scene.close(&closer, ORG, "2022-02").await.unwrap();
    assert_eq!((again.outcome(), again.statement.as_ref()), (CloseOutcome::Unchanged, Some(&statement)));
    assert_eq!(scene.list(&reader, ORG).await.unwrap(), std::slice::from_ref(&statement));
    assert_eq!(scene.get(&reader, ORG, "2022-02").await.unwrap(), Some(statement));

    let stranger = scene.bearer(&["Reports"], &[ORG_EUR]);
    for (hidden, unknown) in [
        (scene.list(&stranger, ORG).await.err(), scene.list(&stranger, NOBODY).await.err()),
        (scene.get(&stranger, ORG, "2022-02").await.err(), scene.get(&stranger, NOBODY, "2022-02").await.err()),
    ] {
        assert_eq!(seen(&hidden.unwrap()), seen(&unknown.unwrap()));
    }
    let missing = scene.get(&reader, ORG, "2022-03").await.unwrap_err();
    assert_eq!(reason(&missing), (Code::NotFound, "STATEMENT_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn refusals_have_reasons() {
    let scene = Scene::new().await;
    let closer = scene.bearer(&["BillingClose"], &["*"]);
    let reason =
        async |organization: &str, of: &str| reason(&scene.close(&closer, organization, of).await.unwrap_err()).1;
    let present = chrono::Utc::now().format("%Y-%m").to_string();
    assert_eq!(reason(ORG, &present).await, "MONTH_NOT_OVER");
    assert_eq!(reason(ORG, "2022-03").await, "MONTH_OUT_OF_ORDER");
    assert_eq!(reason(ORG_EUR, "2022-02").await, "USAGE_UNPRICED");
    scene.database.import(&csv(&[Row::on("2022-02-04", "1")])).await;
    assert_eq!(reason(ORG, "2022-02").await, "DAYS_MISSING");
    let message = CloseMonthRequest { organization_id: ORG.to_owned(), ..Default::default() };
    let error = scene.billing().close_month(request(message, &[&closer])).await.unwrap_err();
    assert_eq!(error.get_details_bad_request().unwrap().field_violations[0].field, "month");
    let message = CloseMonthRequest {
        organization_id: ORG.to_owned(),
        month: month("2022-02"),
        allow_missing_days: true,
        dry_run: true,
        ..Default::default()
    };
    let answer = scene.billing().close_month(request(message, &[&closer])).await.unwrap().into_inner();
    assert_eq!((answer.outcome(), answer.statement.is_none()), (CloseOutcome::DryRun, true));
    let days = answer.missing_days[0].missing_days.as_ref().unwrap();
    assert_eq!(days.days, ["2022-02-02", "2022-02-03"]);
}

/// It waits for somebody, longer than a call may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_takes_too_long_says_so_and_leaves_the_month_open() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "100")])).await;
    let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let calls = CallLimits { import_duration: Duration::from_millis(500), ..CallLimits::default() };
    let server = Server::start(ServerConfig { calls, ..ServerConfig::new(database.config(), auth) });
    let blocker = database.sql().await;
    blocker.batch_execute("BEGIN; LOCK TABLE statement_line IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut billing = BillingServiceClient::new(channel);
    let message = CloseMonthRequest { organization_id: ORG.to_owned(), month: month("2022-02"), ..Default::default() };
    let status = billing.close_month(message.clone()).await.unwrap_err();
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "IMPORTER_STALLED".to_owned()));
    assert!(status.message().starts_with("closing the month took longer than 0 s"), "{}", status.message());
    blocker.batch_execute("COMMIT").await.unwrap();
    let of = ListStatementsRequest { organization_id: ORG.to_owned(), ..Default::default() };
    assert_eq!(billing.list_statements(of).await.unwrap().into_inner().statements, []);
}

#[tokio::test]
async fn statements_come_in_pages_the_newest_first() {
    let books = Books::open().await;
    books.database.import(&csv(&[Row::on("2022-01-01", "1")])).await;
    for month in ["2022-01", "2022-02", "2022-03", "2022-04", "2022-05"] {
        books.close(month).await;
    }
    let page = async |page_size, page_token: &str| {
        let request =
            ListStatementsRequest { organization_id: ORG.to_owned(), page_size, page_token: page_token.to_owned() };
        let page = books.billing().await.list_statements(request).await.map(tonic::Response::into_inner)?;
        let numbers: Vec<String> = page.statements.iter().map(|statement| statement.number.clone()).collect();
        Ok::<_, Status>((numbers, page.next_page_token))
    };
    let (first, token) = page(2, "").await.unwrap();
    assert_eq!(first, ["2022-05-000005", "2022-04-000004"]);
    let (second, token) = page(2, &token).await.unwrap();
    assert_eq!(second, ["2022-03-000003", "2022-02-000002"]);
    let (third, last) = page(2, &token).await.unwrap();
    assert_eq!((third.join(" "), last.as_str()), ("2022-01-000001".to_owned(), ""));
    let whole = books.server.client().await.statements(ORG.parse().unwrap()).await.unwrap();
    assert_eq!(whole.len(), 5);
    assert_eq!(page(-1, "").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(page(2, "x").await.unwrap_err().code(), Code::InvalidArgument);
    let other = ListStatementsRequest { organization_id: ORG_EUR.to_owned(), page_size: 2, page_token: token };
    assert_eq!(books.billing().await.list_statements(other).await.unwrap_err().code(), Code::InvalidArgument);
    let keys = books.billing().await.list_statement_keys(ListStatementKeysRequest {}).await.unwrap().into_inner();
    assert_eq!(keys.keys, []);
}
