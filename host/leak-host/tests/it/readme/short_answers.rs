//! The answers to the commands of the exercises fit on a screen.

use super::*;

/// The most lines of an answer, as `jq` prints it.
const MAX_LINES: usize = 80;

/// The commands of a block, each on one line, without comments. A loop is one command.
fn commands(block: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut command = String::new();
    for line in block.lines().filter(|line| !line.starts_with('#')) {
        let (part, continues) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        command.push_str(part.trim_start());
        if continues {
            continue;
        }
        let in_loop = command.starts_with("for ") && !line.starts_with("done");
        if in_loop {
            command.push('\n');
        } else if !command.is_empty() {
            commands.push(std::mem::take(&mut command));
        }
    }
    commands
}

/// Runs the commands in their order, and returns those that `jq` prints with their lines.
async fn printed(lab: &Lab, blocks: impl Iterator<Item = &Block>) -> Vec<(String, usize)> {
    let folder = tempfile::tempdir().unwrap();
    let mut printed = Vec::new();
    for command in blocks.flat_map(|block| commands(&block.commands)) {
        let out = paste(lab, &command, folder.path()).await;
        if command.contains("| jq") {
            printed.push((command, out.lines().count()));
        }
    }
    printed
}

/// Everything that the lab ships is loaded, as with `cargo xtask run`.
async fn whole_lab() -> Lab {
    let plugins = shipped();
    let plugins: Vec<&str> = plugins.iter().map(String::as_str).collect();
    Lab::with(&plugins).start().await
}

fn check(answers: &[(String, usize)]) {
    for (command, lines) in answers {
        println!("{lines:3} lines: {command}");
        assert!(*lines <= MAX_LINES, "{lines} lines: {command}");
        assert!(*lines > 0, "no answer: {command}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_fits_on_a_screen_with_all_leaks_on() {
    let Some(blocks) = exercises() else { return };
    let lab = whole_lab().await;
    // The first exercise looks at the memory before any leak is on.
    let first = printed(&lab, of(&blocks, 1)).await;
    assert_eq!(first.len(), 3, "{first:?}");
    check(&first);
    for leak in LAB {
        lab.enable(leak).await;
    }
    lab.traffic(50).await;
    for exercise in 2..=6 {
        let answers = printed(&lab, of(&blocks, exercise)).await;
        check(&answers);
        // The exercises disable some of them.
        for leak in LAB {
            lab.enable(leak).await;
        }
    }
}

#[test]
fn commands_are_joined_and_loops_kept_whole() {
    let block =
        "# Comment\ncurl a \\\n  -d 1 | jq\n\nfor i in 1; do\n  curl b\ndone\ncurl c | jq\n";
    assert_eq!(
        commands(block),
        [
            "curl a -d 1 | jq",
            "for i in 1; do\ncurl b\ndone",
            "curl c | jq"
        ]
    );
}
