//! What lies in the way of a file, and files that are there already.

use std::{
    fs::File,
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    sys::{
        signal::{self, Signal},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};

use super::{
    reports::{rest, sound},
    server::{Ended, Messages, Script, run, serve, streams},
};
use crate::support::{
    Database,
    builder::{CATALOG, ORG_EUR, Row, TENANT, TENANT_EUR, csv},
    program,
};

const PRECIOUS: &str = "precious";

fn usage(server: &str, folder: &Path, more: &[&str]) -> Command {
    let mut command = program();
    command.args(["usage", "--tenant", TENANT, "--month", "2022-02", "--server", server]).args(more);
    command.current_dir(folder);
    command
}

/// Puts something at a path; what it is.
type Obstacle<'a> = (&'a dyn Fn(&Path), &'a str);

fn fifo(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).unwrap();
}

/// What is put in the way of `report.csv`, under which name, and what the client says; nothing: it writes its report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_the_way_is_followed_or_waited_for() {
    let to_file = |path: &Path| symlink(path.with_file_name(PRECIOUS), path).unwrap();
    let hard_link = |path: &Path| std::fs::hard_link(path.with_file_name(PRECIOUS), path).unwrap();
    let to_nothing = |path: &Path| symlink("nowhere", path).unwrap();
    let to_device = |path: &Path| symlink("/dev/zero", path).unwrap();
    let folder = |path: &Path| std::fs::create_dir(path).unwrap();
    let obstacles: [Obstacle<'_>; 6] = [
        (&to_file, "to a file"),
        (&hard_link, "hard link"),
        (&to_nothing, "to nothing"),
        (&to_device, "to a device"),
        (&fifo, "pipe"),
        (&folder, "folder"),
    ];
    for (put, obstacle) in obstacles {
        for suffix in [".part", ".part.json", ".part.json.new"] {
            for more in [&[][..], &["--resume"]] {
                let what = format!("{obstacle} as {suffix} {more:?}");
                let folder = tempfile::tempdir().unwrap();
                let (report, precious) = (folder.path().join("report.csv"), folder.path().join(PRECIOUS));
                std::fs::write(&precious, PRECIOUS).unwrap();
                if more == ["--resume"] && suffix != ".part" {
                    std::fs::write(folder.path().join("report.csv.part"), "").unwrap();
                }
                put(&folder.path().join(format!("report.csv{suffix}")));
                let server = serve(streams(vec![sound()])).await;
                let mut command = usage(&server, folder.path(), &["-o", "report.csv"]);
                command.args(more);
                let ended = run(command).await;
                assert_eq!(std::fs::read_to_string(&precious).unwrap(), PRECIOUS, "{what}");
                match ended.code {
                    Some(0) => assert_eq!(std::fs::read_to_string(&report).unwrap().lines().count(), 4, "{what}"),
                    Some(1) => {
                        ended.assert_error(&format!("report.csv{suffix}"), &what);
                        assert!(!report.exists(), "{what}: {ended:?}");
                    }
                    _ => panic!("{what}: {ended:?}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_among_other_downloads_is_not_waited_for() {
    let database = Database::with_rows(1).await;
    let server = database.serve();
    let folder = tempfile::tempdir().unwrap();
    fifo(&folder.path().join("other.csv.part.json"));
    let ended = run(usage(&server.url(), folder.path(), &["--resume"])).await;
    assert!(ended.code == Some(0) && ended.log.contains("there is no download to resume"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_there_is_replaced_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    let content = || std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, PRECIOUS).unwrap();
    symlink("nowhere", folder.path().join("link.csv")).unwrap();
    // Nobody is asked for it.
    for name in ["report.csv", "link.csv"] {
        let ended = run(usage("http://127.0.0.1:1", folder.path(), &["-o", name, "--retry-for", "0"])).await;
        ended.assert_error(&format!("error: {name} exists; use --force to replace it"), name);
    }
    assert_eq!(content(), PRECIOUS);
    let mut wrong = sound();
    wrong.pop();
    for (report, is_sound) in [(wrong, false), (sound(), true)] {
        let server = serve(streams(vec![report])).await;
        let ended = run(usage(&server, folder.path(), &["-o", "report.csv", "--force", "--retry-for", "0"])).await;
        assert_eq!(ended.code == Some(0), is_sound, "{ended:?}");
        assert_eq!(content() == PRECIOUS, !is_sound);
    }

    // One that appears while the report is downloaded is not replaced either.
    std::fs::remove_file(&file).unwrap();
    let appearing = file.clone();
    let script = Script {
        usage: Box::new(move |_| {
            std::fs::write(&appearing, PRECIOUS).unwrap();
            Some(Ok(Box::pin(tokio_stream::iter(sound().into_iter().map(Ok))) as Messages))
        }),
        ..Script::default()
    };
    let ended = run(usage(&serve(script).await, folder.path(), &["-o", "report.csv"])).await;
    ended.assert_error("error: report.csv exists now; the new report is in report.csv.part", "appeared");
    assert_eq!(content(), PRECIOUS);
    let server = serve(streams(vec![rest()])).await;
    let ended = run(usage(&server, folder.path(), &["-o", "report.csv", "--resume", "--force"])).await;
    assert!(ended.code == Some(0) && content().lines().count() == 4, "{ended:?}");
}

/// Each report has a name of its own, and the same report the same one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_name_says_what_the_report_is() {
    let database = Database::migrated();
    database.apply(&CATALOG.replace("\"zeta-hq\"", "\"acme-HQ\"").replace("\"acme-lab\"", "\"a\u{202e}/b\"")).await;
    database.import(&csv(&[Row::on("2022-02-01", "1"), Row::on("2022-02-01", "1").of(ORG_EUR, TENANT_EUR)])).await;
    let server = database.serve();
    let folder = tempfile::tempdir().unwrap();
    let names = [
        (TENANT, &[][..], format!("acme-hq_{TENANT}_detailed_usage_2022-02.csv")),
        (TENANT_EUR, &[], format!("acme-HQ_{TENANT_EUR}_detailed_usage_2022-02.csv")),
        ("a\u{202e}/b", &[], "a__b_detailed_usage_2022-02.csv".to_owned()),
        ("a\u{202e}/b", &["--region", "eu,na"], "a__b_detailed_usage_2022-02_EU_NA.csv".to_owned()),
        ("a\u{202e}/b", &["--trial", "false"], "a__b_detailed_usage_2022-02_billable.csv".to_owned()),
        ("a\u{202e}/b", &["--asset-id", "../x"], "a__b_detailed_usage_2022-02_.._x.csv".to_owned()),
        (
            "a\u{202e}/b",
            &["--as-of", "2022-03-01T00:00:00Z"],
            "a__b_detailed_usage_2022-02_as-of-2022-03-01T000000Z.csv".to_owned(),
        ),
    ];
    let ask = async |tenant: &str, more: &[&str]| {
        let mut command = program();
        command.args(["usage", "--tenant", tenant, "--month", "2022-02", "--server", &server.url()]).args(more);
        command.current_dir(folder.path());
        run(command).await
    };
    for (tenant, more, name) in &names {
        let ended = ask(tenant, more).await;
        assert!(ended.code == Some(0) && ended.log.starts_with(&format!("{name}: ")), "{name}: {ended:?}");
        ask(tenant, more).await.assert_error(&format!("error: {name} exists; use --force"), name);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), names.len());
}

/// Notes and rows go into one pipe, as `2>&1 | less` has it, and nobody reads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_command_that_cannot_even_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let (_reader, mut writer) = std::io::pipe().unwrap();
    let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    let set = |flags| nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(flags)).map(drop);
    set(OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK).unwrap();
    while std::io::Write::write(&mut writer, &[b'x'; 4096]).is_ok() {}
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(OFlag::from_bits_truncate(flags))).unwrap();
    let mut command = usage("http://127.0.0.1:1", folder.path(), &["-o", "-"]);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    // Until the program takes signals, the first one is its end.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ended = wait_for(|| {
        interrupt(&child, Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(50));
        child.try_wait().unwrap()
    });
    assert_eq!(ended.await.code(), Some(130));
}

fn interrupt(child: &Child, signal: Signal) {
    signal::kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

async fn finished(child: Child) -> Ended {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    Ended { code: output.status.code(), out: output.stdout, log }
}

async fn wait_for<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "that takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The end of a pipe, as soon as somebody reads from it.
async fn writer(pipe: &Path) -> File {
    let open = || File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(pipe).ok();
    wait_for(open).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_a_command_that_waits_for_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    fifo(&pipe);
    let spawn = |command: &mut Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // Nobody reads the output.
        let asked = Arc::new(Mutex::new(false));
        let told = Arc::clone(&asked);
        let script = Script {
            usage: Box::new(move |_| {
                *told.lock().unwrap() = true;
                Some(Ok(Box::pin(tokio_stream::iter(sound().into_iter().map(Ok))) as Messages))
            }),
            ..Script::default()
        };
        let child = spawn(&mut usage(&serve(script).await, folder.path(), &["-o", "pipe"]));
        wait_for(|| asked.lock().unwrap().then_some(())).await;
        interrupt(&child, signal);
        finished(child).await.assert_error("interrupted", "an output that nobody reads");

        // Nobody writes the file of the usage.
        let database = Database::with_catalog().await;
        let mut import = program();
        import.args(["import", "pipe"]).env("DATABASE_URL", &database.url).current_dir(folder.path());
        let child = spawn(&mut import);
        let held = writer(&pipe).await;
        interrupt(&child, signal);
        finished(child).await.assert_error("interrupted", "an import");
        drop(held);

        // Nobody writes the token, for which the whole program waits: a second signal ends it.
        let child = spawn(&mut usage("http://127.0.0.1:1", folder.path(), &["-o", "-", "--token-file", "pipe"]));
        let held = writer(&pipe).await;
        interrupt(&child, signal);
        let mut child = child;
        let ended = wait_for(|| {
            interrupt(&child, signal);
            child.try_wait().unwrap()
        });
        assert_eq!(ended.await.code(), Some(130));
        drop(held);
    }
}
