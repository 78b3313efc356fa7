//! Frames of interpreted programs: how their files are shown, and whose code they are.

use super::classify::Classifier;
use super::frame::{FrameKind, NewFrame};
use crate::source_stack::SourceFrame;

/// The function of the frame that stands for further outer frames.
pub(super) const OUTER_FRAMES: &str = "(outer frames)";

/// Where componentize-py mounts the standard library of Python.
const STANDARD_LIBRARY: &str = "/python/";
/// Where it mounts its own files and the bindings that it generates.
const BINDINGS: [&str; 2] = ["/bundled/", "/world/"];
/// Modules of CPython that are compiled into it.
const FROZEN: &str = "<frozen ";
/// The folders into which package managers install.
const PACKAGES: [&str; 2] = ["site-packages/", "dist-packages/"];

/// The frame of a call in an interpreted program.
pub(super) fn new_frame(source: &SourceFrame, classifier: &Classifier) -> NewFrame {
    let (shown, kind) = classify(&source.file);
    let kind = classifier.source_kind(&source.function, shown, kind);
    NewFrame {
        function: source.function.to_string(),
        file: Some(shown.to_owned()),
        line: Some(source.line),
        column: None,
        kind,
    }
}

/// The path to show, and whose code the file is.
fn classify(file: &str) -> (&str, FrameKind) {
    if file.starts_with(FROZEN) || file.starts_with(STANDARD_LIBRARY) {
        return (file.trim_start_matches('/'), FrameKind::Std);
    }
    if BINDINGS.iter().any(|folder| file.starts_with(folder)) {
        return (file.trim_start_matches('/'), FrameKind::Bindings);
    }
    let shown = below_mount_point(file).unwrap_or(file);
    for folder in PACKAGES {
        if let Some((_, package)) = shown.split_once(folder) {
            return (package, FrameKind::Registry);
        }
    }
    (shown, FrameKind::User)
}

/// The path below the folder that componentize-py mounts as `/0/`, `/1/` and so on: one for each
/// `--python-path`.
fn below_mount_point(file: &str) -> Option<&str> {
    let (number, rest) = file.strip_prefix('/')?.split_once('/')?;
    (!number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_shown_without_their_mount_point() {
        for (file, shown, kind) in [
            ("/0/app.py", "app.py", FrameKind::User),
            ("/12/shop/cart.py", "shop/cart.py", FrameKind::User),
            ("<string>", "<string>", FrameKind::User),
            ("/srv/app.py", "/srv/app.py", FrameKind::User),
            ("/0", "/0", FrameKind::User),
            (
                "/python/json/decoder.py",
                "python/json/decoder.py",
                FrameKind::Std,
            ),
            (
                "<frozen importlib._bootstrap>",
                "<frozen importlib._bootstrap>",
                FrameKind::Std,
            ),
            (
                "/1/lib/site-packages/attr/_make.py",
                "attr/_make.py",
                FrameKind::Registry,
            ),
            (
                "/world/wit_world/types.py",
                "world/wit_world/types.py",
                FrameKind::Bindings,
            ),
        ] {
            assert_eq!(classify(file), (shown, kind), "{file}");
        }
    }
}
