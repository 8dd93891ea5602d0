//! `demo`: the main job on this machine, from nothing. Each step is a command that anyone could type.

mod bills;
mod generate;
mod reconcile;
mod samples;

use std::{
    io::Write as _,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    CommandError,
    args::{DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER, DemoArgs},
    output::say,
    signals::stop_signal,
};
use crate::{
    auth::{AuthConfig, DevelopmentKey, TokenConfig},
    client::{Client, ClientConfig, ClientError, UsageQuery},
    embedded::EphemeralServer,
    service::{RunningServer, ServeError, ServerConfig},
    store::{self, StoreConfig},
};

/// The tenant and month that are generated, and the organization that pays.
const LARGE_TENANT: &str = "contoso-global";
const LARGE_MONTH: &str = "2022-03";
const SAMPLE_MONTH: &str = "2022-02";
const CONTOSO: &str = "6b0e7a52-91f1-4b2c-a5e2-5ba3e2a7d701";
const FABRIKAM: &str = "a6579ec5-1114-5e8d-bef5-30de1673289d";
const CONTOSO_HQ: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
/// Rows of `contoso-hq` in the sample files, after the correction.
const SAMPLE_ROWS: u64 = 36;
const SHOWN_LINES: usize = 5;

/// The addresses and the key that the steps use.
struct Demo {
    database_url: String,
    server: String,
    /// The folder of the key that signs tokens.
    key_dir: String,
}

pub(super) async fn run(args: DemoArgs) -> Result<(), CommandError> {
    let stop = stop_signal()?;
    let output_dir = args.output_dir.as_path();
    std::fs::create_dir_all(output_dir).map_err(|error| format!("{}: {error}", output_dir.display()))?;

    title("Starting a private PostgreSQL, which is removed when the demo ends")?;
    let postgres = tokio::task::spawn_blocking(EphemeralServer::start).await??;
    let database_url = postgres.database_url("postgres");
    say!("DATABASE_URL=\"{database_url}\"")?;
    store::migrate(&database_url).await?;

    // Absolute, so that it works in a terminal in another folder.
    let key_dir = std::path::absolute(output_dir)?.join("development-key");
    let key = DevelopmentKey::open_or_create(&key_dir)?;
    let (server, address) = bind(&database_url, args.listen, &key).await?;
    let (stop_server, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    let demo = Demo { database_url, server: format!("http://{address}"), key_dir: key_dir.display().to_string() };
    let mut stop = std::pin::pin!(stop);
    let mut steps = tokio::select! {
        steps = demo.steps(output_dir) => steps,
        () = &mut stop => Err("interrupted".into()),
    };
    if steps.is_ok() && !args.once {
        steps = demo.print_next_steps(address).map_err(Into::into);
    }
    if steps.is_ok() && !args.once {
        stop.await;
        steps = say!("\nStopping.").map_err(Into::into);
    }
    let _ = stop_server.send(());
    serving.await??;
    tokio::task::spawn_blocking(move || drop(postgres)).await?;
    steps
}

/// Listens on the given address, or on a free port if that one is in use.
async fn bind(
    database_url: &str,
    listen: SocketAddr,
    key: &DevelopmentKey,
) -> Result<(RunningServer, SocketAddr), CommandError> {
    let tokens =
        TokenConfig { jwks: Some(key.jwks_file()), ..TokenConfig::new(DEVELOPMENT_ISSUER, DEVELOPMENT_AUDIENCE) };
    let config = |listen| ServerConfig {
        listen,
        drain_limit: Duration::from_secs(1),
        ..ServerConfig::new(
            StoreConfig::new(database_url),
            AuthConfig { tokens: Some(tokens.clone()), ..AuthConfig::default() },
        )
    };
    let server = match RunningServer::bind(config(listen)).await {
        Err(ServeError::Listen { error, .. }) if error.kind() == std::io::ErrorKind::AddrInUse => {
            say!("{listen} is in use; using a free port instead")?;
            RunningServer::bind(config(SocketAddr::new(listen.ip(), 0))).await?
        }
        result => result?,
    };
    let address = server.address();
    Ok((server, address))
}

// === impl Demo ===

impl Demo {
    async fn steps(&self, output_dir: &Path) -> Result<(), CommandError> {
        let path = |name: &str| output_dir.join(name).display().to_string();
        samples::write(output_dir)?;

        title("Declaring organizations, tenants, meters and price lists")?;
        self.database_command(&["catalog", "apply", &path("catalog.toml")]).await?;

        title("Importing three days of usage, and one of them again, which changes nothing")?;
        let days = samples::USAGE_DAYS.map(path);
        let mut import = vec!["import"];
        import.extend(days.iter().map(String::as_str));
        self.database_command(&import).await?;
        self.database_command(&["import", &days[0]]).await?;

        title("Importing a correction: it restates a day and lists what it changed")?;
        self.database_command(&["import", &path(samples::CORRECTION)]).await?;

        title("Generating and importing a large month")?;
        let large = path("generated-2022-03.csv.gz");
        let rows = generate::write_month(Path::new(&large))?;
        say!("{large}: {rows} rows")?;
        self.timed(self.database_command(&["import", "--source", "generator", &large])).await?;

        title("Creating a token for the provider's staff, who may see every organization")?;
        let staff = self.token("*").await?;

        title("Which tenants may I see?")?;
        self.client_command(&["tenants"], &staff).await?;

        title("What did each asset use?")?;
        let sample = path("contoso-hq_detailed_usage_2022-02.csv");
        let usage = ["usage", "--tenant", "contoso-hq", "--month", SAMPLE_MONTH, "-o", &sample, "--force"];
        self.client_command(&usage, &staff).await?;
        print_first_lines(Path::new(&sample))?;
        let report = path("contoso-global_detailed_usage_2022-03.csv");
        let usage = ["usage", "--tenant", LARGE_TENANT, "--month", LARGE_MONTH, "-o", &report, "--force"];
        self.timed(self.client_command(&usage, &staff)).await?;
        print_first_lines(Path::new(&report))?;

        title("What does the organization owe, and why?")?;
        let costs = ["costs", "--organization", CONTOSO, "--month", SAMPLE_MONTH, "--to", LARGE_MONTH];
        self.client_command(&costs, &staff).await?;

        title(
            "A customer sees its own tenants only; for others, it gets the same answer as for tenants that do not \
             exist",
        )?;
        let customer = self.token(FABRIKAM).await?;
        self.client_command(&["tenants"], &customer).await?;
        let foreign = ["usage", "--tenant", CONTOSO_HQ, "--month", SAMPLE_MONTH, "-o", "-"];
        let shown = self.client_command(&foreign, &customer).await;
        let mut client = Client::connect(&ClientConfig::new(&self.server).with_token(&*customer)).await?;
        let query = UsageQuery::new(CONTOSO_HQ.parse()?, SAMPLE_MONTH.parse()?);
        match client.detailed_usage(&query).await {
            Err(ClientError::Refused { reason, .. }) if reason == "TENANT_NOT_FOUND" && shown.is_err() => {}
            _ => return Err("a customer could read the usage of another customer".into()),
        }

        title(
            "Does the detail reconcile with the bill? Adding up the CSV files and comparing the sums with the costs",
        )?;
        let server = ClientConfig::new(&self.server).with_token(&*staff);
        reconcile::check(&server, CONTOSO, "contoso-hq", SAMPLE_MONTH, Path::new(&sample), SAMPLE_ROWS).await?;
        reconcile::check(&server, CONTOSO, LARGE_TENANT, LARGE_MONTH, Path::new(&report), rows).await?;
        self.close_steps(output_dir, &staff).await
    }

    /// Creates a token for an organization, or for all (`*`).
    async fn token(&self, organization: &str) -> Result<String, CommandError> {
        let command = ["token", "--organization", organization, "--key-dir", &self.key_dir];
        say!("$ export SCR_TOKEN=$(secure-connect-reports {})", quoted(&command))?;
        let output = own_program()?.args(command).output().await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Runs a command that works on the database.
    async fn database_command(&self, command: &[&str]) -> Result<(), CommandError> {
        run_command(command, &[("DATABASE_URL", &self.database_url)]).await
    }

    /// Runs a command that asks the server.
    async fn client_command(&self, command: &[&str], token: &str) -> Result<(), CommandError> {
        run_command(command, &[("SCR_SERVER", &self.server), ("SCR_TOKEN", token)]).await
    }

    async fn timed(&self, command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
        let start = Instant::now();
        command.await?;
        say!("({:.1} s)", start.elapsed().as_secs_f64())?;
        Ok(())
    }

    fn print_next_steps(&self, address: SocketAddr) -> std::io::Result<()> {
        title("The server keeps running. Paste these lines into another terminal. Ctrl-C ends the demo")?;
        let Self { database_url, server, key_dir } = self;
        let program = std::env::current_exe()
            .map_or_else(|_| "secure-connect-reports".to_owned(), |path| path.display().to_string());
        say!(
            r#"export SCR_TOKEN="$("{program}" token --organization '*' --key-dir '{key_dir}')"
grpcurl -plaintext {address} list
grpcurl -plaintext {address} describe secureconnect.reports.v1.ReportsService
grpcurl -plaintext -H "authorization: Bearer $SCR_TOKEN" -d '{{"search": "contoso"}}' {address} secureconnect.reports.v1.ReportsService/ListTenants
grpcurl -plaintext -H "authorization: Bearer $SCR_TOKEN" -d '{{"tenant_id": "{CONTOSO_HQ}", "month": {{"year": 2022, "month": 2}}}}' {address} secureconnect.reports.v1.ReportsService/GetDetailedUsage
grpcurl -plaintext -H "authorization: Bearer $SCR_TOKEN" -d '{{"organization_id": "{CONTOSO}", "start_month": {{"year": 2022, "month": 2}}}}' {address} secureconnect.reports.v1.ReportsService/GetMonthlyCosts

export SCR_SERVER={server} DATABASE_URL="{database_url}"
"{program}" tenants fabrikam
"{program}" usage --tenant fabrikam-werk --month 2022-02 -o -
"{program}" costs --organization {CONTOSO} --month 2022-02 --format json"#
        )
    }
}

/// Runs this program with a command line that it prints first.
async fn run_command(command: &[&str], variables: &[(&str, &str)]) -> Result<(), CommandError> {
    say!("$ secure-connect-reports {}", quoted(command))?;
    std::io::stdout().flush()?;
    let mut process = own_program()?;
    let status = process.args(command).envs(variables.iter().copied()).status().await?;
    if status.success() { Ok(()) } else { Err(format!("the command above failed ({status})").into()) }
}

/// This program without the `SCR_` variables of the shell, so that the demo shows the same everywhere.
fn own_program() -> Result<tokio::process::Command, CommandError> {
    let mut process = tokio::process::Command::new(std::env::current_exe()?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SCR_")) {
        process.env_remove(name);
    }
    process.kill_on_drop(true);
    Ok(process)
}

/// A command as one types it into a shell.
fn quoted(command: &[&str]) -> String {
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=".contains(&byte));
    let words = command.iter().map(|word| if plain(word) { (*word).to_owned() } else { format!("'{word}'") });
    words.collect::<Vec<_>>().join(" ")
}

fn title(text: &str) -> std::io::Result<()> {
    say!("\n== {text}")
}

fn print_first_lines(path: &Path) -> Result<(), CommandError> {
    let file = std::io::BufReader::new(std::fs::File::open(path)?);
    for line in std::io::BufRead::lines(file).take(SHOWN_LINES) {
        say!("{}", line?)?;
    }
    say!("...")?;
    Ok(())
}
