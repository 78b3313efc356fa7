//! The exercises panel: the README's exercises as HTML, with commands that the page can run.

mod commands;

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd, html as to_html};

use commands::Step;

const README: &str = include_str!("../../../README.md");

#[derive(Debug)]
pub(crate) struct Exercise {
    /// The number, from 1.
    pub(crate) number: usize,
    /// The title, without "Exercise 1: ".
    pub(crate) title: String,
    pub(crate) body: Markup,
}

/// The exercises of the README: its sections `### Exercise N: TITLE`, wherever they are.
pub(crate) fn all() -> Vec<Exercise> {
    let exercise = |section: Section| Exercise {
        number: section.number,
        title: section.title.to_owned(),
        body: render(section.body.trim()),
    };
    sections(README).into_iter().map(exercise).collect()
}

/// An exercise in Markdown.
#[derive(Debug, PartialEq, Eq)]
struct Section<'a> {
    number: usize,
    title: &'a str,
    body: String,
}

/// The exercises in a Markdown text. A heading of level 1 to 3 or a rule ends an exercise; a line
/// in a code block is neither.
fn sections(markdown: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let (mut in_exercise, mut in_code) = (false, false);
    for line in markdown.lines() {
        in_code ^= line.starts_with("```");
        let heading = ["# ", "## ", "### "]
            .iter()
            .any(|mark| line.starts_with(mark));
        if !in_code && (heading || line == "---") {
            let section = exercise_heading(line);
            in_exercise = section.is_some();
            sections.extend(section);
        } else if let Some(section) = sections.last_mut().filter(|_| in_exercise) {
            section.body.push_str(line);
            section.body.push('\n');
        }
    }
    sections
}

fn exercise_heading(line: &str) -> Option<Section<'_>> {
    let (number, title) = line.strip_prefix("### Exercise ")?.split_once(':')?;
    Some(Section {
        number: number.trim().parse().ok()?,
        title: title.trim(),
        body: String::new(),
    })
}

fn render(text: &str) -> Markup {
    let mut out = String::new();
    let mut plain = Vec::new();
    // The code block that is being read, and whether it is a shell's.
    let mut code: Option<(String, bool)> = None;
    for event in Parser::new(text) {
        match (event, &mut code) {
            (Event::Start(Tag::CodeBlock(kind)), _) => {
                let shell = matches!(&kind, CodeBlockKind::Fenced(language) if matches!(&**language, "bash" | "sh"));
                code = Some((String::new(), shell));
            }
            (Event::End(TagEnd::CodeBlock), _) => {
                to_html::push_html(&mut out, plain.drain(..));
                if let Some((text, shell)) = code.take() {
                    out.push_str(&block(&text, shell).into_string());
                }
            }
            (Event::Text(text), Some((block, _))) => block.push_str(&text),
            (event, _) => plain.push(event),
        }
    }
    to_html::push_html(&mut out, plain.into_iter());
    PreEscaped(out)
}

fn block(text: &str, shell: bool) -> Markup {
    if !shell {
        return html! { pre tabindex="0" { code { (text) } } };
    }
    let steps = commands::steps(text);
    let runnable = steps.iter().any(|step| matches!(step, Step::Call { .. }));
    let json = commands::to_json(&steps);
    html! {
        div.command data-steps=(json) {
            pre tabindex="0" { code { (text) } }
            div.row {
                button.copy type="button" { "Copy" }
                @if runnable { button.run type="button" { "Run" } }
                @else { span.hint { "Run this in a terminal" } }
            }
            div.result role="status" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_exercises_of_the_readme_are_complete() {
        let exercises = all();
        let numbers: Vec<_> = exercises.iter().map(|e| e.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        for exercise in &exercises {
            let html = &exercise.body.0;
            assert!(html.contains("data-steps="), "{}", exercise.title);
            assert!(!html.contains("```"), "{html}");
            assert!(
                !html.contains("<script") && !html.contains("style="),
                "{html}"
            );
        }
        assert!(exercises[3].body.0.contains("growing_allocations"));
    }

    #[test]
    fn markup_in_a_command_is_escaped() {
        let html = render("```bash\ncurl -s http://localhost:8080/<b>\n```\n").0;
        assert!(
            html.contains("&lt;b&gt;") && !html.contains("<b>"),
            "{html}"
        );
    }

    #[test]
    fn an_exercise_ends_at_a_heading_or_a_rule_outside_of_code() {
        let markdown = "# Lab\n### Exercise 1: One\nText\n#### Part\nMore\n---\nNot of an exercise\n\
                        ### Exercise 2:  Two \n```bash\n# a comment\n---\n```\n## Next\n\
                        ### Other\n### Exercise x: not a number\nText\n";
        let section = |number, title, body: &str| Section {
            number,
            title,
            body: body.to_owned(),
        };
        let expected = [
            section(1, "One", "Text\n#### Part\nMore\n"),
            section(2, "Two", "```bash\n# a comment\n---\n```\n"),
        ];
        assert_eq!(sections(markdown), expected);
    }

    #[test]
    fn the_page_can_run_every_command_of_the_exercises_except_the_load_test() {
        let all: Vec<Step> = sections(README)
            .iter()
            .flat_map(|section| section.body.split("```bash\n").skip(1))
            .flat_map(|block| commands::steps(block.split("```").next().unwrap()))
            .collect();
        let calls = all.iter().filter(|s| matches!(s, Step::Call { .. }));
        assert!(calls.count() >= 20, "{all:#?}");
        for step in &all {
            if let Step::Terminal { line } = step {
                assert!(line.starts_with("docker compose run"), "{line}");
            }
        }
    }
}
