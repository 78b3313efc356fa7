//! The few Dockerfile instructions that the lab's images are built with, read as data.

use anyhow::{Context, Result, bail};

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Instruction {
    From {
        base: String,
        stage: Option<String>,
    },
    Workdir(String),
    Copy {
        /// A stage; without one the build context.
        from: Option<String>,
        sources: Vec<String>,
        destination: String,
    },
    Run(String),
    /// A name, and its value where the caller gives none.
    Arg(String, String),
    /// A value may be `$NAME` of an argument.
    Env(String, String),
}

/// Reads a Dockerfile. What only matters when a container runs (`CMD`, `EXPOSE`, …) is left out.
///
/// # Errors
/// At an instruction that is not understood here: it would be a step that is not taken.
pub(crate) fn parse(text: &str) -> Result<Vec<Instruction>> {
    let mut instructions = Vec::new();
    for line in joined(text) {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let rest = rest.trim();
        match name {
            "FROM" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                let (base, stage) = match words.as_slice() {
                    [base] => (base, None),
                    [base, "AS", stage] => (base, Some((*stage).to_owned())),
                    _ => bail!("{line} is not understood"),
                };
                instructions.push(Instruction::From {
                    base: (*base).to_owned(),
                    stage,
                });
            }
            "WORKDIR" => instructions.push(Instruction::Workdir(rest.to_owned())),
            "RUN" => instructions.push(Instruction::Run(rest.to_owned())),
            "COPY" => instructions.push(copy(rest)?),
            "ENV" => {
                let (key, value) = rest.split_once('=').with_context(|| line.clone())?;
                instructions.push(Instruction::Env(key.to_owned(), value.to_owned()));
            }
            "ARG" => {
                let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
                instructions.push(Instruction::Arg(key.to_owned(), value.to_owned()));
            }
            "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD" => {}
            _ => bail!("{line} is not understood"),
        }
    }
    Ok(instructions)
}

fn copy(rest: &str) -> Result<Instruction> {
    let mut from = None;
    let mut paths = Vec::new();
    for word in rest.split_whitespace() {
        if let Some(stage) = word.strip_prefix("--from=") {
            from = Some(stage.to_owned());
        } else if word.starts_with("--chown=") {
            // Whoever runs the steps here owns the files.
        } else if word.starts_with("--") || word.contains(['*', '?', '[']) {
            bail!("COPY {rest}: {word} is not understood");
        } else {
            paths.push(word.to_owned());
        }
    }
    let destination = paths
        .pop()
        .with_context(|| format!("COPY {rest} has no destination"))?;
    if paths.is_empty() {
        bail!("COPY {rest} has no source");
    }
    Ok(Instruction::Copy {
        from,
        sources: paths,
        destination,
    })
}

/// Lines without comments, those that end in a backslash joined to the next.
fn joined(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') || (line.is_empty() && open.is_empty()) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(part) => open.push_str(part),
            None => {
                open.push_str(line);
                lines.push(std::mem::take(&mut open));
            }
        }
    }
    if !open.is_empty() {
        lines.push(open);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_over_several_lines_is_one() {
        let text =
            "# a comment\nFROM rust:1 AS build\nRUN one \\\n    # why\n    && two\nCMD [\"x\"]\n";
        assert_eq!(
            parse(text).unwrap(),
            [
                Instruction::From {
                    base: "rust:1".to_owned(),
                    stage: Some("build".to_owned())
                },
                Instruction::Run("one && two".to_owned()),
            ]
        );
    }

    #[test]
    fn a_copy_names_its_stage_and_its_destination() {
        assert_eq!(
            copy("--from=build --chown=1:1 /a b /c").unwrap(),
            Instruction::Copy {
                from: Some("build".to_owned()),
                sources: vec!["/a".to_owned(), "b".to_owned()],
                destination: "/c".to_owned(),
            }
        );
    }

    #[test]
    fn an_argument_has_a_default_or_none() {
        assert_eq!(
            parse("ARG A=1\nARG B\nENV C=$A\n").unwrap(),
            [
                Instruction::Arg("A".to_owned(), "1".to_owned()),
                Instruction::Arg("B".to_owned(), String::new()),
                Instruction::Env("C".to_owned(), "$A".to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "ADD x y",
            "COPY --link a b",
            "COPY *.rs b",
            "COPY a",
            "FROM a b c",
            "ENV a b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_labs_own_file_is_understood() {
        let instructions = parse(include_str!("../../../compose/Dockerfile")).unwrap();
        let runs = instructions
            .iter()
            .filter(|i| matches!(i, Instruction::Run(_)))
            .count();
        assert!(runs >= 6, "{runs} steps");
    }
}
