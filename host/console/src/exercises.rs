//! The exercises beside the lab: the README's own text, with commands that the page can run.

mod commands;

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd, html as to_html};

pub(super) use commands::Step;

/// The text that people read in the repository is the text that they read here.
const README: &str = include_str!("../../../README.md");

/// One exercise.
#[derive(Debug)]
pub(super) struct Exercise {
    /// From 1.
    pub(super) number: usize,
    /// Without the word and the number.
    pub(super) title: String,
    /// Its text.
    pub(super) body: Markup,
}

/// All of them, in order.
pub(super) fn all() -> Vec<Exercise> {
    let section = README
        .split_once("\n## Exercises\n")
        .map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    section
        .split("\n### Exercise ")
        .skip(1)
        .filter_map(|text| {
            let (head, body) = text.split_once('\n')?;
            let (number, title) = head.split_once(": ")?;
            Some(Exercise {
                number: number.parse().ok()?,
                title: title.to_owned(),
                body: render(body.trim().trim_end_matches("---")),
            })
        })
        .collect()
}

fn render(text: &str) -> Markup {
    let mut out = String::new();
    let mut plain = Vec::new();
    // The code block that is being read, and whether it is for a shell.
    let mut code: Option<(String, bool)> = None;
    for event in Parser::new(text) {
        match (event, &mut code) {
            (Event::Start(Tag::CodeBlock(kind)), _) => {
                let shell =
                    matches!(&kind, CodeBlockKind::Fenced(language) if &**language == "bash");
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
                @else { span.hint { "For a terminal" } }
            }
            div.result role="status" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_exercises_are_there_whole() {
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
    fn markup_in_a_command_is_text() {
        let html = render("```bash\ncurl -s http://localhost:8080/<b>\n```\n").0;
        assert!(
            html.contains("&lt;b&gt;") && !html.contains("<b>"),
            "{html}"
        );
    }
}
