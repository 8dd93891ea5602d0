//! `usage` of several tenants and months: whole, of one moment, and continued as a whole.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use secure_connect_reports::{
    client::UsageQuery,
    service::{CallLimit, CallLimits, ServerConfig},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{run, served};
use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
    program,
    proxy::{Fate, Proxy},
};

const MANIFEST: &str = "manifest.json";
const JOURNAL: &str = "manifest.part.jsonl";

fn usage(server: &str, folder: &Path, more: &[&str]) -> Command {
    let mut command = program();
    command.args(["usage", "--server", server, "-o"]).arg(folder).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

async fn finished(child: Child) -> (bool, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

async fn downloaded(server: &Server, folder: &Path, more: &[&str]) -> (bool, String) {
    finished(usage(&server.url(), folder, more).spawn().unwrap()).await
}

async fn wait_for(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "that takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join(MANIFEST)).unwrap()).unwrap()
}

/// Holds what the manifest says of its files against them, and the files against the reports as of its moment. Returns tenant,
/// month and number of rows of each.
async fn check(server: &Server, folder: &Path) -> Vec<(String, String, u64)> {
    let manifest = manifest(folder);
    let mut found = Vec::new();
    let mut names = vec![MANIFEST.to_owned()];
    for report in manifest["reports"].as_array().unwrap() {
        let text = |name: &str| report[name].as_str().unwrap().to_owned();
        assert_eq!(report["asOf"], manifest["asOf"]);
        let (tenant, month) = (text("tenantId"), text("month"));
        let as_of = Some(text("asOf").parse().unwrap());
        let query = UsageQuery { as_of, ..UsageQuery::new(tenant.parse().unwrap(), month.parse().unwrap()) };
        let (expected, revision) = server.csv(&query).await;
        let rows = report["rowCount"].as_u64().unwrap();
        assert_eq!(expected.lines().count() as u64, rows + 1);
        if rows == 0 {
            assert_eq!([&report["file"], &report["sha256"], &report["bytes"], &report["revision"]], [&Value::Null; 4]);
        } else {
            let content = fs::read(folder.join(text("file"))).unwrap();
            assert!(content == expected.as_bytes(), "{report}");
            let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((report["bytes"].as_u64().unwrap(), text("sha256")), (content.len() as u64, digest));
            assert_eq!(text("revision"), revision);
            names.push(text("file"));
        }
        found.push((tenant, month, rows));
    }
    names.sort();
    assert_eq!(files(folder), names, "nothing else is left");
    assert_eq!(manifest["rowCount"].as_u64().unwrap(), found.iter().map(|(.., rows)| rows).sum::<u64>());
    found
}

/// A few rows of three tenants in three months.
fn some_rows() -> Vec<Row> {
    vec![
        Row::on("2022-02-01", "1"),
        Row::on("2022-02-02", "2"),
        Row::on("2022-03-01", "3"),
        Row::on("2022-03-01", "4").of(ORG, TENANT_2),
        Row::on("2022-03-31", "5").of(ORG_EUR, TENANT_EUR),
    ]
}

fn expected(reports: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    reports.iter().map(|&(tenant, month, rows)| (tenant.to_owned(), month.to_owned(), rows)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tenant_and_month_has_a_file_and_the_manifest_lists_all() {
    let (_database, server) = served(&some_rows()).await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/new folder");
    let all = ["--organization", "Acme", "--month", "2022-02", "--to", "2022-04"];
    let (ok, log) = downloaded(&server, &folder, &all).await;
    assert!(ok, "{log}");
    let reports = [
        (TENANT, "2022-02", 2),
        (TENANT, "2022-03", 1),
        (TENANT, "2022-04", 0),
        (TENANT_2, "2022-02", 0),
        (TENANT_2, "2022-03", 1),
        (TENANT_2, "2022-04", 0),
    ];
    assert_eq!(check(&server, &folder).await, expected(&reports));
    let summary = "manifest.json: 3 files, 4 rows, 3 reports without rows, all as of 2";
    assert!(log.contains(summary) && log.lines().count() == 1, "{log}");
    let names = ["acme-hq_detailed_usage_2022-02.csv", "acme-hq_detailed_usage_2022-03.csv"];
    assert_eq!(files(&folder), [names[0], names[1], "acme-lab_detailed_usage_2022-03.csv", MANIFEST]);
    let manifest = manifest(&folder);
    let entry = &manifest["reports"][0];
    assert_eq!([&entry["organizationId"], &entry["tenantName"], &entry["file"]], [ORG, "acme-hq", names[0]]);
    assert_eq!(manifest["version"], 1);
    assert!(entry["dataAsOf"].as_str().unwrap() <= manifest["asOf"].as_str().unwrap());

    // What is there is not replaced unasked, not even some of it.
    for more in [&[][..], &["--resume"]] {
        let (ok, log) = downloaded(&server, &folder, &[&all[..], more].concat()).await;
        assert!(!ok && log.contains("manifest.json exists; use --force to replace it"), "{log}");
    }
    fs::remove_file(folder.join(MANIFEST)).unwrap();
    let (ok, log) = downloaded(&server, &folder, &all).await;
    assert!(!ok && log.contains(&format!("{} exists; use --force to replace it", names[0])), "{log}");
    assert_eq!(files(&folder).len(), 3);
    let (ok, log) = downloaded(&server, &folder, &[&all[..], &["--force"]].concat()).await;
    assert!(ok, "{log}");
    assert_eq!(check(&server, &folder).await.len(), 6);

    // Tenants of several organizations, by ids and names, one of them twice.
    let folder = parent.path().join("some");
    let some = ["--tenant", "zeta-hq", "--tenant", TENANT, "--tenant", "acme-hq", "--month", "2022-03"];
    let (ok, log) = downloaded(&server, &folder, &some).await;
    assert!(ok, "{log}");
    assert_eq!(check(&server, &folder).await, expected(&[(TENANT_EUR, "2022-03", 1), (TENANT, "2022-03", 1)]));
    // One of an organization; and one report, in a folder.
    let folder = parent.path().join("lab");
    let lab = ["--organization", ORG, "--tenant", "acme-lab", "--month", "2022-02", "--to", "2022-03"];
    assert!(downloaded(&server, &folder, &lab).await.0);
    assert_eq!(check(&server, &folder).await, expected(&[(TENANT_2, "2022-02", 0), (TENANT_2, "2022-03", 1)]));
    let folder = parent.path().join("one/");
    assert!(downloaded(&server, &folder, &["--tenant", TENANT, "--month", "2022-03"]).await.0);
    assert_eq!(check(&server, &folder).await, expected(&[(TENANT, "2022-03", 1)]));
    // A tenant of another organization is not there.
    let foreign = ["--organization", ORG, "--tenant", TENANT_EUR, "--month", "2022-03", "--to", "2022-04"];
    let (ok, log) = downloaded(&server, &parent.path().join("foreign"), &foreign).await;
    assert!(!ok && log.contains("there is no tenant named"), "{log}");
    assert!(!parent.path().join("foreign").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restricted_and_who_has_a_namesake_is_in_the_names() {
    let (database, server) = served(&some_rows()).await;
    database.apply(&CATALOG.replace("\"acme-lab\"", "\"ACME-hq\"")).await;
    let folder = tempfile::tempdir().unwrap();
    let filtered = ["--organization", "Acme", "--month", "2022-03", "--region", "EU", "--crlf"];
    let (ok, log) = downloaded(&server, folder.path(), &filtered).await;
    assert!(ok, "{log}");
    let name = |tenant: &str, id: &str| format!("{tenant}_{id}_detailed_usage_2022-03_EU.csv");
    let mut names = vec![name("ACME-hq", TENANT_2), name("acme-hq", TENANT), MANIFEST.to_owned()];
    names.sort();
    assert_eq!(files(folder.path()), names);
    let text = fs::read_to_string(folder.path().join(name("acme-hq", TENANT))).unwrap();
    assert_eq!(text, csv(&[Row::on("2022-03-01", "3")]).replace('\n', "\r\n"));
    let asked = &manifest(folder.path())["asked"];
    assert_eq!(
        [&asked["billingRegions"], &asked["crlf"], &asked["from"]],
        [&json!(["EU"]), &json!(true), &json!("2022-03")]
    );

    // What a filter leaves nothing of has its revision, and no file.
    let nothing = folder.path().join("nothing");
    let (ok, log) =
        downloaded(&server, &nothing, &["--organization", "Acme", "--month", "2022-03", "--region", "NA"]).await;
    assert!(ok && log.contains("0 files, 0 rows, 2 reports without rows"), "{log}");
    assert_eq!(files(&nothing), [MANIFEST]);
    let report = &manifest(&nothing)["reports"][0];
    assert_eq!([&report["rowCount"], &report["file"]], [&json!(0), &Value::Null]);
    assert_eq!(report["revision"].as_str().unwrap().len(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_report_is_a_file_and_several_need_a_folder() {
    let (_database, server) = served(&some_rows()).await;
    let folder = tempfile::tempdir().unwrap();
    let usage = |arguments: &[&str]| {
        let mut command = program();
        run(command.arg("usage").args(arguments).args(["--server", &server.url()]).current_dir(folder.path()))
    };
    // Whatever organization the environment names, it is one report.
    let one = ["--organization", "Acme", "--tenant", "acme-hq", "--month", "2022-02", "--to", "2022-02"];
    assert!(usage(&one).0);
    assert_eq!(files(folder.path()), ["acme-hq_detailed_usage_2022-02.csv"]);
    for (arguments, problem) in [
        (&["--organization", "Acme", "--month", "2022-02"][..], "several reports need a folder"),
        (&["--tenant", TENANT, "--tenant", TENANT_2, "--month", "2022-02", "-o", "-"], "several reports need a folder"),
        (&["--tenant", TENANT, "--statement", "2022-02-000001", "-o", "x"], "--month is required"),
        (
            &[
                "--tenant",
                TENANT,
                "--tenant",
                TENANT_2,
                "--month",
                "2022-02",
                "--statement",
                "2022-02-000001",
                "-o",
                "x",
            ],
            "several reports of a statement need --organization",
        ),
        (&["--organization", "Acme", "--month", "2022-02", "--to", "2022-01", "-o", "x"], "--to: the last month"),
        (&["--organization", "Acne", "--month", "2022-02", "-o", "x"], "no organization named \"Acne\""),
        (&["--organization", TENANT, "--month", "2022-02", "-o", "x"], "no tenants that you may see"),
        (&["--organization", "Acme", "--to", "2022-02", "-o", "x"], "--month <YYYY-MM>"),
        (&["--month", "2022-02", "-o", "x"], "--tenant <ID|NAME>"),
        (
            &["--organization", "Acme", "--month", "2022-02", "--as-of", "9999-01-01T00:00:00Z", "-o", "x"],
            "is in the future",
        ),
        (
            &["--organization", "Acme", "--month", "2022-02", "-o", "acme-hq_detailed_usage_2022-02.csv"],
            "acme-hq_detailed_usage_2022-02.csv",
        ),
    ] {
        let (ok, _, log) = usage(arguments);
        assert!(!ok && log.contains(problem), "{arguments:?}: {log}");
    }
    assert_eq!(files(folder.path()).len(), 1);
}

/// Six reports of some 250 kB each, in two deliveries.
const ROWS: usize = 1200;
const MONTHS: [&str; 3] = ["2022-02", "2022-03", "2022-04"];

fn large(quantity: &str) -> String {
    let of_month = |month: &str| {
        let row = |n: usize| Row::on(&format!("{month}-0{}", 1 + n % 5), quantity).asset(&format!("asset-{n:05}"));
        (0..ROWS).flat_map(move |n| [row(n), row(n).of(ORG, TENANT_2)]).collect::<Vec<_>>()
    };
    csv(&MONTHS.iter().flat_map(|month| of_month(month)).collect::<Vec<_>>())
}

async fn large_served() -> (Database, Server) {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    database.import(&large("1.25")).await;
    let server = database.serve();
    (database, server)
}

const ALL: [&str; 6] = ["--organization", "Acme", "--month", "2022-02", "--to", "2022-04"];

fn slow(_: u32) -> Fate {
    Fate { cut_after: u64::MAX, pause: Duration::from_millis(15) }
}

/// A download that was killed when some of its files were complete, and others were not.
struct Killed {
    folder: tempfile::TempDir,
    /// The files that are complete, with their inodes.
    complete: Vec<(String, u64)>,
}

impl Killed {
    async fn new(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(server.address, slow).await;
        let mut child = usage(&proxy.url, folder.path(), &ALL).spawn().unwrap();
        let with_end = |end: &str| files(folder.path()).iter().filter(|name| name.ends_with(end)).count();
        wait_for(|| with_end(".csv") > 0 && with_end(".csv.part.json") > 0).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let complete = files(folder.path()).into_iter().filter(|name| name.ends_with(".csv"));
        let complete: Vec<_> = complete.map(|name| (inode(&folder.path().join(&name)), name)).collect();
        let complete: Vec<_> = complete.into_iter().map(|(inode, name)| (name, inode)).collect();
        assert!((1..6).contains(&complete.len()), "{complete:?}");
        assert!(!folder.path().join(MANIFEST).exists(), "what is not whole has no manifest");
        Self { folder, complete }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn first(&self) -> PathBuf {
        self.path().join(&self.complete[0].0)
    }

    /// How many of the files that were complete are still those.
    fn unchanged(&self) -> usize {
        self.complete.iter().filter(|(name, inode)| self::inode(&self.path().join(name)) == *inode).count()
    }

    async fn resume(&self, server: &Server, more: &[&str]) -> (bool, String) {
        downloaded(server, self.path(), &[&ALL[..], &["--resume"], more].concat()).await
    }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restatement_between_two_files_does_not_show() {
    let (database, server) = large_served().await;
    let folder = tempfile::tempdir().unwrap();
    let slow = |_| Fate { cut_after: u64::MAX, pause: Duration::from_millis(40) };
    let proxy = Proxy::start(server.address, slow).await;
    let child = usage(&proxy.url, folder.path(), &ALL).spawn().unwrap();
    let is_there = |end: &str| files(folder.path()).iter().any(|name| name.ends_with(end));
    wait_for(|| is_there(".csv.part.json")).await;
    database.import(&large("7.5")).await;
    assert!(!is_there(".csv"), "the last two have not begun");
    let (ok, log) = finished(child).await;
    assert!(ok, "{log}");
    let found = check(&server, folder.path()).await;
    assert_eq!(found.len(), 6);
    for name in files(folder.path()).iter().filter(|name| name.ends_with(".csv")) {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((text.matches(",1.25,").count(), text.matches(",7.5,").count()), (ROWS, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_reports_that_were_killed_go_on_as_of_the_first_moment() {
    let (database, server) = large_served().await;
    let killed = Killed::new(&server).await;
    database.import(&large("7.5")).await;
    // A tenant that was renamed meanwhile keeps the names of its files.
    database.apply(&CATALOG.replace("\"acme-hq\"", "\"acme-old\"")).await;

    // Without --resume, it is not begun again unasked.
    let (ok, log) = downloaded(&server, killed.path(), &ALL).await;
    assert!(!ok && log.contains("run the same command with --resume to continue it, or with --force"), "{log}");
    for other in [&["--crlf"][..], &["--region", "EU"], &["--as-of", "2022-03-01T00:00:00Z"]] {
        let (ok, log) = killed.resume(&server, other).await;
        assert!(!ok && log.contains("use the same options as before"), "{log}");
    }
    let held = fs::File::open(killed.path().join(JOURNAL)).unwrap();
    held.lock().unwrap();
    let (ok, log) = killed.resume(&server, &[]).await;
    assert!(!ok && log.contains("manifest.part.jsonl: another download is writing to it"), "{log}");
    drop(held);

    // As if it had been killed when a file just had its name, and its part was still there.
    fs::hard_link(killed.first(), format!("{}.part", killed.first().display())).unwrap();
    // A file that is there and that nobody knows of is somebody's.
    let unknown = format!("{}", killed.path().join("acme-lab_detailed_usage_2022-04.csv").display());
    assert!(!Path::new(&unknown).exists());
    fs::write(&unknown, "precious").unwrap();
    let (ok, log) = killed.resume(&server, &[]).await;
    assert!(!ok && log.contains("acme-lab_detailed_usage_2022-04.csv exists; use --force to replace it"), "{log}");
    fs::remove_file(unknown).unwrap();

    let before = server.metric("scr_resumed_downloads_total").await;
    let (ok, log) = killed.resume(&server, &[]).await;
    assert!(ok, "{log}");
    let ready = killed.complete.len();
    assert!(log.contains(&format!("{ready} of 6 reports are complete already")), "{log}");
    assert_eq!(killed.unchanged(), ready, "what was complete is not downloaded again");
    assert!(server.metric("scr_resumed_downloads_total").await > before, "what was begun goes on");
    assert_eq!(check(&server, killed.path()).await.iter().map(|(.., rows)| *rows as usize).sum::<usize>(), 6 * ROWS);
    for name in files(killed.path()).iter().filter(|name| name.ends_with(".csv")) {
        let text = fs::read_to_string(killed.path().join(name)).unwrap();
        assert_eq!(text.matches(",1.25,").count(), ROWS, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_were_changed_since_are_found() {
    let (_database, server) = large_served().await;
    let killed = Killed::new(&server).await;
    let whole = fs::read(killed.first()).unwrap();
    let mut damaged = whole.clone();
    damaged[500] ^= 1;
    for content in [&damaged[..], &whole[..whole.len() - 1], b""] {
        fs::write(killed.first(), content).unwrap();
        let (ok, log) = killed.resume(&server, &[]).await;
        assert!(!ok && log.contains("was changed since it was downloaded; use --force to download it again"), "{log}");
        assert_eq!(fs::read(killed.first()).unwrap(), content, "it is left as it is");
    }
    // Parts are nobody's work: they are begun again. So is the last line of the journal, which a crash has cut.
    let parts = files(killed.path()).into_iter().filter(|name| name.ends_with(".csv.part"));
    for part in parts {
        fs::write(killed.path().join(part), "damaged").unwrap();
    }
    let journal = killed.path().join(JOURNAL);
    let lines = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, format!("{lines}{{\"report\":5,\"revi")).unwrap();
    let (ok, log) = killed.resume(&server, &["--force"]).await;
    assert!(ok, "{log}");
    assert_eq!(check(&server, killed.path()).await.len(), 6);
    assert_eq!(killed.unchanged(), killed.complete.len() - 1);
    assert_eq!(fs::read(killed.first()).unwrap(), whole);

    // What was removed is downloaded again, without a word.
    let killed = Killed::new(&server).await;
    fs::remove_file(killed.first()).unwrap();
    let (ok, log) = killed.resume(&server, &[]).await;
    assert!(ok, "{log}");
    assert_eq!(check(&server, killed.path()).await.len(), 6);

    // Without a plan there is nothing to go on with.
    let killed = Killed::new(&server).await;
    fs::write(killed.path().join(JOURNAL), "{\n").unwrap();
    let (ok, log) = killed.resume(&server, &[]).await;
    assert!(!ok && log.contains("with --force instead of --resume to start again"), "{log}");
    let (ok, log) = downloaded(&server, killed.path(), &[&ALL[..], &["--force"]].concat()).await;
    assert!(ok, "{log}");
    assert_eq!(check(&server, killed.path()).await.len(), 6);
}

/// Whenever the process ends, what is there continues to the same files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_reports_may_be_killed_at_any_time() {
    let (_database, server) = large_served().await;
    let mut rng = crate::support::rng();
    for round in 0..crate::support::rounds(4) {
        let folder = tempfile::tempdir().unwrap();
        let mut kills = 0;
        loop {
            let pause = Duration::from_millis(rng.u64(0..4));
            let proxy = Proxy::start(server.address, move |_| Fate { cut_after: u64::MAX, pause }).await;
            let more = if kills == 0 { &ALL[..] } else { &[&ALL[..], &["--resume"]].concat() };
            let mut child = usage(&proxy.url, folder.path(), more).spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(rng.u64(0..1500))).await;
            if child.try_wait().unwrap().is_some() {
                let (ok, log) = finished(child).await;
                assert!(ok, "round {round}, {kills} kills: {log}");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            if folder.path().join(MANIFEST).exists() {
                // It was whole, and the journal was still there.
                let (ok, log) = downloaded(&server, folder.path(), &[more, &["--resume", "--force"]].concat()).await;
                assert!(ok, "round {round}: {log}");
                break;
            }
        }
        assert_eq!(check(&server, folder.path()).await.len(), 6, "round {round}, {kills} kills");
    }
}

/// A caller who may run one download at a time gets its files one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_reports_keep_within_the_servers_limits() {
    let (database, _server) = large_served().await;
    let downloads = CallLimit { total: 100, per_caller: 1 };
    let calls = CallLimits { downloads, ..CallLimits::default() };
    let auth = secure_connect_reports::auth::AuthConfig { insecure_no_auth: true, ..Default::default() };
    let server = Server::start(ServerConfig { calls, ..ServerConfig::new(database.config(), auth) });
    let folder = tempfile::tempdir().unwrap();
    let (ok, log) = downloaded(&server, folder.path(), &[&ALL[..], &["--retry-for", "0"]].concat()).await;
    assert!(ok, "{log}");
    assert_eq!(check(&server, folder.path()).await.len(), 6);
}

/// Where the connection is lost for good, it says what is there and how to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_reports_that_were_cut_say_how_to_go_on() {
    let (_database, server) = large_served().await;
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(server.address, |_| Fate { cut_after: 600_000, pause: Duration::ZERO }).await;
    let arguments = [&ALL[..], &["--retry-for", "0"]].concat();
    let (ok, log) = finished(usage(&proxy.url, folder.path(), &arguments).spawn().unwrap()).await;
    assert!(!ok && log.contains("of 6 reports are complete in ") && log.contains("with --resume to continue"), "{log}");
    assert!(!folder.path().join(MANIFEST).exists());
    let (ok, log) = downloaded(&server, folder.path(), &[&ALL[..], &["--resume"]].concat()).await;
    assert!(ok, "{log}");
    assert_eq!(check(&server, folder.path()).await.len(), 6);
}
