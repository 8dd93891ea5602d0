//! What `--help` says.

use super::{assert_golden, fixture::command};

#[test]
fn help_of_every_command() {
    let main = help(&[]);
    assert_golden("help/main.txt", &main);
    // The list of commands is that of the program, so that a new one is not forgotten.
    let commands = main.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names: Vec<&str> = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !["", "help"].contains(name)).collect();
    assert_eq!(names.len(), 18, "{names:?}");
    for name in names {
        assert_golden(&format!("help/{name}.txt"), &help(&[name]));
    }
    assert_golden("help/catalog-apply.txt", &help(&["catalog", "apply"]));
    assert_golden("help/costs-compare.txt", &help(&["costs", "compare"]));
    let version = String::from_utf8(command(&["--version"]).output().unwrap().stdout).unwrap();
    assert_eq!(version, format!("secure-connect-reports {}\n", env!("CARGO_PKG_VERSION")));
}

/// The long help: it says all that the short one says.
fn help(names: &[&str]) -> String {
    let output = command(names).arg("--help").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}
