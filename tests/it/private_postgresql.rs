//! The private PostgreSQL: shared by commands, and whole again after whatever happens to it.

use std::{
    fs::{self, File, Permissions},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::support::{
    builder::{CATALOG, Row, csv},
    program, run,
    serving::Serving,
};

/// A folder that the account which runs PostgreSQL can reach, with a space in its name.
struct Folder {
    parent: TempDir,
    data_dir: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let parent = tempfile::Builder::new().prefix("scr test ").tempdir_in("/tmp").unwrap();
        fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(parent.path().join("catalog.toml"), CATALOG).unwrap();
        fs::write(parent.path().join("usage.csv"), rows()).unwrap();
        let data_dir = parent.path().join("data dir");
        Self { parent, data_dir }
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).env("SCR_DATA_DIR", &self.data_dir);
        command
    }

    fn apply(&self) -> Command {
        let mut command = self.program(&["catalog", "apply"]);
        command.arg(self.parent.path().join("catalog.toml"));
        command
    }

    fn import(&self) -> Command {
        let mut command = self.program(&["import"]);
        command.arg(self.parent.path().join("usage.csv"));
        command
    }

    fn serve(&self) -> Serving {
        Serving::open(&mut self.program(&[]))
    }

    fn pid_file(&self) -> PathBuf {
        self.data_dir.join("cluster/postmaster.pid")
    }

    /// The process of the postmaster, if it is alive.
    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.parse().ok()?);
        // No signal: it only asks whether one could be sent.
        signal::kill(pid, None).is_ok().then_some(pid)
    }

    fn is_running(&self) -> bool {
        self.postmaster().is_some()
    }

    /// A process of the account that runs PostgreSQL, and has nothing to do with it.
    fn stranger(&self) -> Stranger {
        let owner = fs::metadata(&self.data_dir).unwrap();
        Stranger(Command::new("sleep").arg("600").uid(owner.uid()).gid(owner.gid()).spawn().unwrap())
    }
}

struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rows() -> String {
    csv(&[Row::on("2022-02-01", "1")])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn downloaded(url: &str) -> (bool, String, String) {
    run(program().args(["usage", "--tenant", "acme-hq", "--month", "2022-02", "-o", "-", "--server", url]))
}

/// Without DATABASE_URL the commands share a private server: the first starts it, the last stops it.
#[test]
fn a_private_server_is_shared_and_goes_away_with_its_last_user() {
    let folder = Folder::new();
    let (ok, out, log) = run(&mut folder.apply());
    assert!(ok && out.contains("tenants            3 created"), "{log}");
    assert!(!folder.is_running(), "the only user has left");
    let mut serving = folder.serve();
    assert!(folder.is_running());
    let (ok, out, log) = run(&mut folder.import());
    assert!(ok && out.contains("1 loads published"), "{log}");
    assert!(folder.is_running(), "the server still needs it");
    assert_eq!(downloaded(&serving.url).1, rows());
    serving.signal(Signal::SIGTERM);
    assert!(serving.child.wait().unwrap().success());
    assert!(!folder.is_running(), "the last user has left");

    // What a killed user left running is joined by the next one, and stopped.
    let mut serving = folder.serve();
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();
    assert!(folder.is_running());
    let (ok, out, log) = run(&mut folder.import());
    assert!(ok && out.contains("unchanged"), "{log}");
    assert!(!folder.is_running());
}

#[test]
fn what_a_crash_left_behind_is_cleared_away_and_nobody_else_is_stopped() {
    let folder = Folder::new();
    let mut serving = folder.serve();
    let left = fs::read_to_string(folder.pid_file()).unwrap();
    serving.signal(Signal::SIGTERM);
    assert!(serving.child.wait().unwrap().success());
    assert!(!folder.pid_file().exists());
    let (_, rest) = left.split_once('\n').unwrap();

    let mut stranger = folder.stranger();
    let mut ended = folder.stranger();
    ended.0.kill().unwrap();
    ended.0.wait().unwrap();
    let of = |process: u32| format!("{process}\n{rest}");
    for (what, content) in [
        ("a stranger of the account", of(stranger.0.id())),
        ("a process of whoever runs the command", of(std::process::id())),
        ("a process that has ended", of(ended.0.id())),
        ("the first process", of(1)),
        ("a stranger, as if it were a backend without a server", format!("-{}", of(stranger.0.id()))),
        ("nothing", String::new()),
        ("no number", format!("x\n{rest}")),
    ] {
        fs::write(folder.pid_file(), content).unwrap();
        let owner = fs::metadata(&folder.data_dir).unwrap();
        std::os::unix::fs::chown(folder.pid_file(), Some(owner.uid()), Some(owner.gid())).unwrap();
        let (ok, out, log) = run(&mut folder.apply());
        assert!(ok && out.contains("tenants"), "{what}: {out}\n{log}");
        assert!(!folder.pid_file().exists(), "{what}: stopped");
        assert_eq!(stranger.0.try_wait().unwrap(), None, "{what}: it goes on");
    }
}

/// `serve` alone needs it for longer than a crash takes.
#[test]
fn a_server_that_was_killed_is_started_again_below_serve() {
    let folder = Folder::new();
    assert!(run(&mut folder.apply()).0);
    assert!(run(&mut folder.import()).0);
    let mut serving = folder.serve();
    for _ in 0..2 {
        let killed = folder.postmaster().unwrap();
        signal::kill(killed, Signal::SIGKILL).unwrap();
        let start = Instant::now();
        while downloaded(&serving.url).1 != rows() || folder.postmaster().is_none_or(|pid| pid == killed) {
            let log = serving.log.lock().unwrap().join("\n");
            assert!(start.elapsed() < Duration::from_secs(60), "it is not there again\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let log = serving.log.lock().unwrap().join("\n");
    assert_eq!(log.matches("the private PostgreSQL had ended, and was started again").count(), 2, "{log}");
    serving.signal(Signal::SIGTERM);
    assert!(serving.child.wait().unwrap().success());
    assert!(!folder.is_running());
}

#[test]
fn variables_for_other_servers_play_no_part() {
    let folder = Folder::new();
    let variables = [
        ("PGPORT", "1"),
        ("PGHOST", "nowhere.example"),
        ("PGDATA", "/nowhere"),
        ("PGUSER", "nobody"),
        ("PGDATABASE", "nothing"),
        ("PGOPTIONS", "-c nonsense=on"),
        ("PGCTLTIMEOUT", "0"),
        ("PGDATESTYLE", "nonsense"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGSSLMODE", "verify-full"),
        ("LC_ALL", "C.UTF-8"),
        ("LC_MESSAGES", "de_DE.UTF-8"),
    ];
    for _ in 0..2 {
        let (ok, out, log) = run(folder.apply().envs(variables));
        assert!(ok && out.contains("tenants"), "{out}\n{log}");
    }
    assert!(!folder.is_running());
    let serving = Serving::open(folder.program(&[]).envs(variables));
    let sockets: Vec<_> = fs::read_dir(folder.data_dir.join("socket"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(sockets.iter().any(|name| name == ".s.PGSQL.5432"), "{sockets:?}");
    serving.signal(Signal::SIGTERM);
}

#[test]
fn locks_are_the_accounts_own_and_who_waits_says_for_whom() {
    let folder = Folder::new();
    assert!(run(&mut folder.apply()).0);
    let owner = fs::metadata(&folder.data_dir).unwrap().uid();
    let [start, users] = ["start.lock", "users.lock"].map(|name| folder.data_dir.join(name));
    // As an earlier version made them.
    for path in [&start, &users] {
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
    assert!(run(&mut folder.apply()).0);
    for path in [&start, &users] {
        assert_eq!((mode(path), fs::metadata(path).unwrap().uid()), (0o600, owner));
    }

    let lock = File::options().write(true).open(&start).unwrap();
    lock.lock().unwrap();
    fs::write(&start, format!("{}\n", std::process::id())).unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(4));
        lock.unlock().unwrap();
    });
    let (ok, _, log) = run(&mut folder.apply());
    holder.join().unwrap();
    let waiting = format!("start.lock: waiting for process {}", std::process::id());
    assert!(ok && log.matches(&waiting).count() == 1, "{log}");

    // A link is nobody's lock.
    let elsewhere = folder.parent.path().join("elsewhere");
    fs::write(&elsewhere, "kept").unwrap();
    fs::remove_file(&start).unwrap();
    symlink(&elsewhere, &start).unwrap();
    let (ok, _, log) = run(&mut folder.apply());
    assert!(!ok && log.contains("start.lock: Too many levels of symbolic links"), "{log}");
    assert_eq!(fs::read_to_string(elsewhere).unwrap(), "kept");
}
