//! A program in Python whose default argument grows. Skipped without componentize-py.

use std::process::Command;

use crate::program::Program;

/// The list of `seen` is made once, so it keeps every text.
const PROGRAM: &str = r#"import wit_world

def remember(text, seen=[]):
    seen.append(text + "!")
    return len(seen)

recent = {}

class WitWorld(wit_world.WitWorld):
    def note(self, text):
        return remember(text)

    def replace(self, text):
        recent[len(recent) % 8] = text + "?"
        return len(recent)
"#;

const WORLD: &str = "package shop:guest;
world shop {
  export note: func(text: string) -> u32;
  export replace: func(text: string) -> u32;
}
";

#[test]
fn a_default_argument_that_grows_is_named_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.py"), PROGRAM).unwrap();
    std::fs::write(folder.path().join("shop.wit"), WORLD).unwrap();
    let built = Command::new("componentize-py")
        .args(["-d", "shop.wit", "-w", "shop", "componentize"])
        .args(["--stub-wasi", "app", "-o", "app.wasm"])
        .current_dir(folder.path())
        .output();
    let Ok(built) = built else {
        eprintln!("skipped: componentize-py is not installed");
        return;
    };
    assert!(built.status.success(), "{built:?}");
    let program = Program::on_bytes(&std::fs::read(folder.path().join("app.wasm")).unwrap());
    let ran = program.run("test", &["--invoke", "note(\"a text to keep\")"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout
            .starts_with("FAILED: your code leaks: 1 line grew"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains("leak      app.py:4 in remember"),
        "{ran:?}"
    );
    let ran = program.run("test", &["--invoke", "replace(\"a text to keep\")"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
