//! Runs a test in its own process, because it measures or ends the process.

use std::process::{Command, Output};

/// The environment variable that tells the subprocess which test to run.
const SUBPROCESS_TEST: &str = "LEAK_HOST_SUBPROCESS_TEST";

/// Runs `body` in a subprocess: this test binary again, with `test` (its full path) as the only
/// test. In the subprocess this function does not return.
#[allow(
    clippy::disallowed_methods,
    reason = "the parent test process sets the variable"
)]
pub(crate) fn run(test: &str, body: impl FnOnce()) -> Output {
    if std::env::var(SUBPROCESS_TEST).is_ok_and(|name| name == test) {
        body();
        std::process::exit(0);
    }
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(SUBPROCESS_TEST, test)
        .output()
        .unwrap()
}

/// The same as [`run`], and fails with the output of the subprocess when `body` fails.
pub(crate) fn check(test: &str, body: impl FnOnce()) {
    let output = run(test, body);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        stdout.contains("running 1 test"),
        "there is no test {test}: {stdout}"
    );
}
