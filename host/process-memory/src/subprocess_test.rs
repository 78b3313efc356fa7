//! Tests that need a process to themselves, since they measure it or end it.

use std::process::{Command, Output};

const CHILD: &str = "LEAK_HOST_TEST_ALONE";

/// Runs `body` in a process of its own: this test binary again, with `test` (its full path) alone. In
/// that process it does not return.
pub(crate) fn run(test: &str, body: impl FnOnce()) -> Output {
    if std::env::var(CHILD).is_ok_and(|child| child == test) {
        body();
        std::process::exit(0);
    }
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .output()
        .unwrap()
}

/// As [`run`], and fails with the child's words when `body` failed.
pub(crate) fn check(test: &str, body: impl FnOnce()) {
    let output = run(test, body);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        said.contains("running 1 test"),
        "no test is called {test}: {said}"
    );
}
