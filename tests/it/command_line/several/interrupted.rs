//! Several reports that are killed, cut off, or damaged: they go on to the same files, as of the same moment.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use secure_connect_reports::{
    auth::AuthConfig,
    service::{CallLimit, CallLimits, ServerConfig},
};
use serde_json::{Value, json};

use super::{MANIFEST, check, downloaded, files, finished, usage};
use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT_2, csv},
    proxy::{Fate, Proxy},
    rng, rounds,
};

const JOURNAL: &str = "manifest.part.jsonl";

async fn wait_for(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "that takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Six reports of some 250 kB each, in two deliveries.
const ROWS: usize = 1200;
const MONTHS: [&str; 3] = ["2022-02", "2022-03", "2022-04"];

fn large(quantity: &str) -> String {
    let of_month = |month: &str| {
        let row = |n: usize| Row::on(&format!("{month}-0{}", 1 + n % 5), quantity).bulky(n);
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
    let mut rng = rng();
    for round in 0..rounds(4) {
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
    let auth = AuthConfig { insecure_no_auth: true, ..Default::default() };
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

/// The manifest comes first, and then the journal goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_ended_between_manifest_and_journal_is_complete() {
    let (_database, server) = large_served().await;
    let folder = tempfile::tempdir().unwrap();
    let asked = ["--tenant", "acme-hq", "--month", "2022-02", "--to", "2022-03"];
    let (ok, log) = downloaded(&server, folder.path(), &asked).await;
    assert!(ok, "{log}");
    let manifest = fs::read(folder.path().join(MANIFEST)).unwrap();
    let found: Value = serde_json::from_slice(&manifest).unwrap();
    let reports = found["reports"].as_array().unwrap();
    let plan = json!({ "asked": found["asked"], "asOf": found["asOf"], "reports": reports });
    let mut journal = format!("{}\n", json!({ "version": 1, "plan": plan }));
    for (number, report) in reports.iter().enumerate() {
        let mut done = report.clone();
        done["report"] = number.into();
        done["content"] = json!({ "bytes": report["bytes"], "sha256": report["sha256"] });
        journal += &format!("{done}\n");
    }
    fs::write(folder.path().join(JOURNAL), journal).unwrap();
    let (ok, log) = downloaded(&server, folder.path(), &[&asked[..], &["--resume"]].concat()).await;
    assert!(ok && log.starts_with("2 of 2 reports are complete already\n"), "{log}");
    assert_eq!(fs::read(folder.path().join(MANIFEST)).unwrap(), manifest);
    assert_eq!(check(&server, folder.path()).await.len(), 2);
}
