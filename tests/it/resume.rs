//! A download whose network, server or own process is cut, again and again: the file is that of an undisturbed one.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use secure_connect_reports::client::{Client, ClientConfig, UsageQuery};

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, csv},
    program,
    proxy::{Fate, Proxy},
    rng, rounds,
    serving::Serving,
    to_csv,
};

/// Some 700 kB on the wire.
const ROWS: usize = 3000;
/// More than the network holds by itself.
const MANY_ROWS: usize = 40_000;

fn content(rows: usize, quantity: &str) -> String {
    let days = ["2022-02-01", "2022-02-02", "2022-02-28"];
    let rows: Vec<Row> = (0..rows).map(|n| Row::on(days[n * 3 / rows], quantity).bulky(n)).collect();
    csv(&rows)
}

async fn served(rows: usize) -> (Database, Server) {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    database.import(&content(rows, "1.25")).await;
    let server = database.serve();
    (database, server)
}

fn download(server: &str, file: &Path, more: &[&str]) -> Command {
    let mut command = program();
    command.args(["usage", "--tenant", TENANT, "--month", "2022-02", "--server", server, "-o"]).arg(file).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

async fn finished(child: Child) -> (bool, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", file.display()))
}

async fn wait_for(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "that takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_over_a_network_that_breaks_is_that_of_one_revision() {
    let (database, server) = served(ROWS).await;
    let mut rng = rng();
    let folder = tempfile::tempdir().unwrap();
    let mut cut = 0;
    for round in 0..rounds(6) {
        let undisturbed = server.february().await;
        // Connections end after 5 to 400 kB: in the middle of a frame, a message, a record.
        let limits: Vec<u64> = (0..64).map(|_| rng.u64(5_000..400_000)).collect();
        let fate = move |connection: u32| Fate {
            cut_after: limits[connection as usize % limits.len()],
            pause: Duration::from_millis(1),
        };
        let proxy = Proxy::start(server.address, fate).await;
        let file = folder.path().join(format!("{round}.csv"));
        // By the command line, and by the library in turns.
        let by_command = round % 2 == 0;
        let command = by_command.then(|| download(&proxy.url, &file, &[]).spawn().unwrap());
        let by_library = async {
            let mut client = Client::connect(&ClientConfig::new(&proxy.url)).await.unwrap();
            let query = UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
            to_csv(client.detailed_usage(&query).await.unwrap()).await
        };
        let restate = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            database.import(&content(ROWS, &format!("{round}.75"))).await;
        };
        let (found, ()) = match command {
            Some(child) => {
                let ((ok, log), ()) = tokio::join!(finished(child), restate);
                assert!(ok, "{log}");
                (std::fs::read_to_string(&file).unwrap(), ())
            }
            None => tokio::join!(by_library, restate),
        };
        // It began before or after the restatement; whichever it was, it is all of that.
        assert!(found == undisturbed || found == server.february().await, "round {round}");
        cut += proxy.connections() - 1;
    }
    assert!(cut >= rounds(6), "{cut} cuts");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        rounds(6).div_ceil(2) as usize,
        "nothing else is left"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_was_killed_goes_on_where_it_was() {
    let (database, server) = served(ROWS).await;
    let mut rng = rng();
    let folder = tempfile::tempdir().unwrap();
    let slow = |_| Fate { cut_after: u64::MAX, pause: Duration::from_millis(4) };
    for round in 0..rounds(6) {
        let undisturbed = server.february().await;
        let proxy = Proxy::start(server.address, slow).await;
        let file = folder.path().join(format!("{round}.csv"));
        let (part, state) = (with_suffix(&file, ".part"), with_suffix(&file, ".part.json"));
        let mut child = download(&proxy.url, &file, &[]).spawn().unwrap();
        wait_for(|| state.exists()).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(0..100))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(part.exists() && !file.exists());
        database.import(&content(ROWS, &format!("{round}.5"))).await;

        let (ok, log) = finished(download(&server.url(), &file, &["--resume"]).spawn().unwrap()).await;
        assert!(ok, "{log}");
        assert!(std::fs::read_to_string(&file).unwrap() == undisturbed, "round {round}");
        assert!(!part.exists() && !state.exists());
    }
}

/// `serve` as a process of its own.
fn serve(database: &Database) -> (Serving, SocketAddr) {
    let serving = Serving::open(program().env("DATABASE_URL", &database.url));
    let address = serving.url.trim_start_matches("http://").parse().unwrap();
    (serving, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_outlives_its_server() {
    let (database, server) = served(MANY_ROWS).await;
    let mut rng = rng();
    let folder = tempfile::tempdir().unwrap();
    for round in 0..rounds(2) {
        let undisturbed = server.february().await;
        let (serving, address) = serve(&database);
        let mut proxy = Proxy::start(address, |_| Fate { cut_after: u64::MAX, pause: Duration::from_millis(2) }).await;
        let file = folder.path().join("report.csv");
        let child = download(&proxy.url, &file, &["--force"]).spawn().unwrap();
        wait_for(|| with_suffix(&file, ".part.json").exists()).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(0..200))).await;
        drop(serving);
        proxy.close().await;
        // The last day is restated before the server is back.
        database.import(&csv(&[Row::on("2022-02-28", &format!("{round}.5"))])).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(0..500))).await;
        let (_serving, address) = serve(&database);
        proxy.lead_to(vec![address]);
        let (ok, log) = finished(child).await;
        assert!(ok, "{log}");
        assert!(log.contains("records were received, resuming in"), "round {round}: {log}");
        assert!(std::fs::read_to_string(&file).unwrap() == undisturbed, "round {round}");
    }
}

/// A server that is killed while a command connects, looks its tenant up, or opens its report; or that is not there yet.
/// Whatever it was, the command goes on when the server is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_outlives_its_server_from_its_first_byte_on() {
    let (database, server) = served(ROWS).await;
    let undisturbed = server.february().await;
    let run = |url: &str, arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).args(["--server", url]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    // By name, so that it is looked up first.
    let usage = ["usage", "--tenant", "acme-hq", "--month", "2022-02", "-o", "-"];
    let tenants = ["tenants", "acme", "--format", "csv"];
    let costs = ["costs", "--organization", ORG, "--tenant", "acme-hq", "--month", "2022-02", "--format", "csv"];
    let output = async |child: Child| {
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let mut expected = Vec::new();
    for command in [&usage[..], &tenants, &costs] {
        let (ok, out, log) = output(run(&server.url(), command)).await;
        assert!(ok, "{log}");
        expected.push(out);
    }
    assert_eq!(expected[0], undisturbed);

    let mut rng = rng();
    let mut tried_again = 0;
    for round in 0..rounds(6) {
        let (serving, address) = serve(&database);
        // Refused, or taken and cut: in turns.
        let mut proxy = Proxy::closed(|_| Fate { cut_after: u64::MAX, pause: Duration::from_millis(1) });
        let is_there = round % 3 > 0;
        if is_there {
            proxy.lead_to(vec![address]);
        }
        let children = [&usage[..], &tenants, &costs].map(|command| run(&proxy.url, command));
        tokio::time::sleep(Duration::from_micros(rng.u64(0..40_000))).await;
        drop(serving);
        if round % 2 == 0 {
            proxy.close().await;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(0..300))).await;
        let (_serving, address) = serve(&database);
        proxy.lead_to(vec![address]);
        for (child, expected) in children.into_iter().zip(&expected) {
            let (ok, out, log) = output(child).await;
            assert!(ok && out == *expected, "round {round}: {log}");
            tried_again += u32::from(log.contains("retrying") || log.contains("resuming in"));
        }
    }
    assert!(tried_again >= rounds(6), "{tried_again} of {} tried again", 3 * rounds(6));
}

/// How long a command waits is up to whoever runs it; it then says which server, which call, and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_gives_up_says_what_did_not_answer() {
    let (_database, server) = served(ROWS).await;
    let run = async |url: &str, arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).args(["--server", url]).stdout(Stdio::null()).stderr(Stdio::piped());
        finished(command.spawn().unwrap()).await
    };
    let refusing = Proxy::closed(|_| Fate { cut_after: 0, pause: Duration::ZERO });
    let cutting = Proxy::start(server.address, |_| Fate { cut_after: 60, pause: Duration::ZERO }).await;
    for command in [
        &["usage", "--tenant", "acme-hq", "--month", "2022-02", "-o", "-"][..],
        &["tenants"],
        &["costs", "--organization", ORG, "--month", "2022-02"],
    ] {
        let call = match command[0] {
            "costs" => "GetMonthlyCosts",
            _ => "ListTenants",
        };
        for (retry_for, least) in [("0", 0), ("1", 1)] {
            let arguments = [command, &["--retry-for", retry_for]].concat();
            let started = Instant::now();
            let (ok, log) = run(&refusing.url, &arguments).await;
            let last = log.lines().last().unwrap_or_default();
            let expected = format!("error: cannot reach the server at {}: ", refusing.url);
            assert!(
                !ok && last.starts_with(&expected) && last.contains("`secure-connect-reports serve` starts it"),
                "{log}"
            );
            let (ok, log) = run(&cutting.url, &arguments).await;
            let last = log.lines().last().unwrap_or_default();
            let expected = format!("error: {} did not answer {call}: ", cutting.url);
            assert!(
                !ok && last.starts_with(&expected) && last.contains("`secure-connect-reports healthcheck`"),
                "{log}"
            );
            assert_eq!(log.contains("retrying"), least > 0, "{log}");
            assert!(started.elapsed() < Duration::from_secs(20 + least), "it gives up");
        }
    }
    // What another try cannot mend is told at once.
    let started = Instant::now();
    let (ok, log) = run("ftp://127.0.0.1", &["tenants"]).await;
    assert!(!ok && log.starts_with("error: \"ftp://127.0.0.1\" is not a valid server URL"), "{log}");
    let (ok, log) = run(&server.url(), &["costs", "--organization", TENANT, "--month", "2022-02"]).await;
    assert!(!ok && log.starts_with("error: there is no such organization"), "{log}");
    assert!(started.elapsed() < Duration::from_secs(20), "at once");
}

/// Whoever goes on with a download waits for a server that is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_goes_on_waits_for_its_server() {
    let (_database, server) = served(ROWS).await;
    let undisturbed = server.february().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    let proxy = Proxy::start(server.address, |_| Fate { cut_after: 300_000, pause: Duration::ZERO }).await;
    let (ok, log) = finished(download(&proxy.url, &file, &["--retry-for", "0"]).spawn().unwrap()).await;
    assert!(!ok && with_suffix(&file, ".part").exists(), "{log}");

    let mut proxy = Proxy::closed(|_| Fate { cut_after: u64::MAX, pause: Duration::ZERO });
    let resumed = download(&proxy.url, &file, &["--resume"]).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.lead_to(vec![server.address]);
    let (ok, log) = finished(resumed).await;
    assert!(ok && log.contains("retrying"), "{log}");
    assert!(std::fs::read_to_string(&file).unwrap() == undisturbed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_left_as_it_is_goes_on() {
    let (_database, server) = served(ROWS).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    let (part, state) = (with_suffix(&file, ".part"), with_suffix(&file, ".part.json"));
    let cut = |_| Fate { cut_after: 300_000, pause: Duration::ZERO };
    let resumed = async |more: &[&str]| {
        let more = [&["--resume"], more].concat();
        finished(download(&server.url(), &file, &more).spawn().unwrap()).await
    };
    let interrupted = async || {
        let proxy = Proxy::start(server.address, cut).await;
        let (ok, log) = finished(download(&proxy.url, &file, &["--retry-for", "0"]).spawn().unwrap()).await;
        assert!(!ok && log.contains("report.csv.part; run the same command with --resume to continue"), "{log}");
        assert!(!file.exists());
    };

    interrupted().await;
    for other in [&["--crlf"][..], &["--region", "EU"], &["--as-of", "2022-03-01T00:00:00Z"]] {
        let (ok, log) = resumed(other).await;
        assert!(!ok && log.contains("use the same options as before"), "{log}");
    }
    let whole = std::fs::read(&part).unwrap();
    let mut damaged = whole.clone();
    damaged[200] ^= 1;
    for content in [&damaged[..], &whole[..whole.len() / 2], b""] {
        std::fs::write(&part, content).unwrap();
        let (ok, log) = resumed(&[]).await;
        assert!(!ok && log.contains("report.csv.part was changed since the download stopped"), "{log}");
    }
    std::fs::write(&part, [&whole[..], b"half a li"].concat()).unwrap();
    let (ok, log) = resumed(&[]).await;
    assert!(ok, "{log}");
    assert!(std::fs::read_to_string(&file).unwrap() == server.february().await);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    // Where nothing was left, it is a download like any other.
    let (ok, log) = resumed(&["--force"]).await;
    assert!(ok && log.contains("there is no download to resume"), "{log}");

    // Two of the same at once do not write to one file.
    std::fs::remove_file(&file).unwrap();
    interrupted().await;
    let held = std::fs::File::open(&part).unwrap();
    held.lock().unwrap();
    for more in [&["--resume"][..], &[]] {
        let (ok, log) = finished(download(&server.url(), &file, more).spawn().unwrap()).await;
        assert!(!ok && log.contains("another download is writing to it"), "{log}");
    }
    drop(held);

    // A new one takes the place of what was left.
    let (ok, log) = finished(download(&server.url(), &file, &[]).spawn().unwrap()).await;
    assert!(ok, "{log}");
    std::fs::write(&state, "{").unwrap();
    let (ok, log) = resumed(&["--force"]).await;
    assert!(!ok && log.contains("report.csv.part.json: ") && log.contains("without --resume"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_the_file_is_found_again() {
    let (_database, server) = served(ROWS).await;
    let folder = tempfile::tempdir().unwrap();
    let usage = |server: &str, more: &[&str]| {
        let mut command = program();
        command.args(["usage", "--tenant", TENANT, "--month", "2022-02", "--server", server]).args(more);
        command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let proxy = Proxy::start(server.address, |_| Fate { cut_after: 300_000, pause: Duration::ZERO }).await;
    let (ok, log) = finished(usage(&proxy.url, &["--retry-for", "0"])).await;
    assert!(!ok && log.contains("acme-hq_detailed_usage_2022-02.csv.part"), "{log}");
    let (ok, log) = finished(usage(&server.url(), &["--resume"])).await;
    assert!(ok, "{log}");
    let file = folder.path().join("acme-hq_detailed_usage_2022-02.csv");
    assert!(std::fs::read_to_string(file).unwrap() == server.february().await);
}
