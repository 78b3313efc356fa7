//! The subjects of new commits: one change each, in the imperative, short enough for every Git
//! tool.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// The last commit before the rule. Commits after this one follow it.
const LAST_BEFORE_RULE: &str = "19518d05fccbe77ea1d2f8850b36272a69a7db81";

/// Names another commit to begin after, for example the base of a pull request.
pub(crate) const BASE_VARIABLE: &str = "LINT_COMMITS_SINCE";

/// Characters of a subject line.
const MAX_SUBJECT: usize = 60;

/// Imperatives that end in -s, -ed or -ing.
const IMPERATIVES: [&str; 12] = [
    "Address", "Bring", "Compress", "Discuss", "Embed", "Express", "Feed", "Focus", "Need", "Pass",
    "Process", "Speed",
];

/// Common first words that are no imperative and do not end like another form of a verb.
const NO_IMPERATIVES: [&str; 14] = [
    "A", "An", "Better", "Built", "Bugfix", "Made", "More", "New", "No", "One", "Some", "The",
    "This", "WIP",
];

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SubjectCheck {
    Checked {
        /// How many.
        commits: usize,
        /// One line for each subject that breaks a rule.
        broken: Vec<String>,
    },
    /// Why the commits cannot be checked.
    Skipped(String),
}

/// Checks the commits of the current branch after `base`, else after [`LAST_BEFORE_RULE`].
///
/// # Errors
/// When Git cannot be started.
pub(crate) fn check(root: &Path, base: Option<&str>) -> Result<SubjectCheck> {
    let base = base.unwrap_or(LAST_BEFORE_RULE);
    let known = git(root, &["merge-base", "--is-ancestor", base, "HEAD"])?;
    if known.is_none() {
        return Ok(SubjectCheck::Skipped(format!(
            "the commit {base} is not in this history; a full clone has it"
        )));
    }
    let range = format!("{base}..HEAD");
    let Some(log) = git(root, &["log", "--no-merges", "--format=%h %s", &range])? else {
        return Ok(SubjectCheck::Skipped(format!("git cannot list {range}")));
    };
    let broken = log.lines().filter_map(|line| {
        let (hash, subject) = line.split_once(' ').unwrap_or((line, ""));
        let problem = problem(subject)?;
        Some(format!("{hash} \"{subject}\": {problem}"))
    });
    Ok(SubjectCheck::Checked {
        commits: log.lines().count(),
        broken: broken.collect(),
    })
}

/// The output of a Git command; `None` when it does not succeed.
fn git(root: &Path, args: &[&str]) -> Result<Option<String>> {
    let output = Command::new("git")
        .args(args)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("cannot start git")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success().then_some(text))
}

/// The rule that a subject breaks.
fn problem(subject: &str) -> Option<String> {
    let length = subject.chars().count();
    if length > MAX_SUBJECT {
        return Some(format!("{length} characters, at most {MAX_SUBJECT}"));
    }
    if subject.ends_with('.') {
        return Some("ends with a period".to_owned());
    }
    if subject.contains(';') {
        return Some("a semicolon joins two changes: make two commits".to_owned());
    }
    let verb = subject.split(' ').next().unwrap_or_default();
    if verb.ends_with(':') {
        return Some(format!("begins with the label `{verb}` instead of a verb"));
    }
    if !verb.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Some("does not begin with a capital letter".to_owned());
    }
    (!is_imperative(verb)).then(|| format!("`{verb}` is not an imperative, such as Add or Fix"))
}

/// True unless the word has the ending of another form: Added, Adds, Adding.
fn is_imperative(word: &str) -> bool {
    if NO_IMPERATIVES.contains(&word) || !word.chars().all(|c| c.is_ascii_alphabetic() || c == '-')
    {
        return false;
    }
    let other_form = ["ed", "ing", "s"].iter().any(|end| word.ends_with(end));
    !other_form || IMPERATIVES.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imperative_subjects_are_accepted() {
        for subject in [
            "Bound the debug information that symbols read",
            "Address two races in the reload",
            "Pass the registry to the driver",
            "Re-export the heap tables",
            "Fix `bench http` with one connection",
        ] {
            assert_eq!(problem(subject), None, "{subject}");
        }
    }

    #[test]
    fn each_rule_has_a_subject_that_breaks_it() {
        for (subject, rule) in [
            ("Added a check", "not an imperative"),
            ("Adds a check", "not an imperative"),
            ("Adding a check", "not an imperative"),
            ("The cache has a bound", "not an imperative"),
            ("add a check", "capital letter"),
            ("", "capital letter"),
            ("lint: add a check", "label"),
            ("Tests: two races", "label"),
            ("Add a check.", "period"),
            ("Add a check; fix a race", "semicolon"),
            (&format!("Add {}", "a".repeat(57)), "61 characters"),
        ] {
            let problem = problem(subject).unwrap_or_default();
            assert!(problem.contains(rule), "{subject}: {problem}");
        }
    }

    fn git_in(folder: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
        let all = [&identity, args].concat();
        assert!(git(folder, &all).unwrap().is_some(), "{args:?}");
    }

    #[test]
    fn only_commits_after_the_base_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        git_in(root, &["init", "--quiet"]);
        for subject in ["before the rule.", "Add a check", "adds another"] {
            git_in(root, &["commit", "--quiet", "--allow-empty", "-m", subject]);
        }
        let SubjectCheck::Checked { commits, broken } = check(root, Some("HEAD~2")).unwrap() else {
            panic!("the base is in the history");
        };
        assert_eq!(commits, 2);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].contains("adds another"), "{broken:?}");
        assert!(matches!(
            check(root, None).unwrap(),
            SubjectCheck::Skipped(_)
        ));
    }
}
