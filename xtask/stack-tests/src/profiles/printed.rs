//! What the collector's debug exporter prints of a request with profiles. It prints the tables
//! with the indices between them.

/// The printed tables of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Printed<'a> {
    /// The string table.
    pub(super) strings: Vec<&'a str>,
    /// For each function the index of its file's name.
    files: Vec<usize>,
    /// Each line as the index of its function and its number.
    lines: Vec<(usize, u32)>,
    /// Profiles in the request.
    pub(super) profile_count: usize,
}

impl Printed<'_> {
    /// Whether a location has this line.
    pub(super) fn has_line(&self, file: &str, line: u32) -> bool {
        self.lines.iter().any(|&(function, number)| {
            let name = self.files.get(function).and_then(|f| self.strings.get(*f));
            number == line && name == Some(&file)
        })
    }
}

/// All requests that were printed.
pub(super) fn profiles(output: &str) -> Vec<Printed<'_>> {
    let mut requests: Vec<Printed<'_>> = Vec::new();
    let mut in_strings = false;
    let mut function = 0;
    for line in output.lines() {
        // The zero value of the first table begins a request.
        if line.ends_with("Mapping #0") {
            requests.push(Printed::default());
        }
        let Some(request) = requests.last_mut() else {
            continue;
        };
        if line.starts_with("ResourceProfiles #") {
            in_strings = false;
        } else if in_strings {
            request.strings.push(line.trim_start());
        } else if line == "String table:" {
            in_strings = true;
        } else if line.starts_with("Profile #") {
            request.profile_count += 1;
        } else if let Some((key, value)) = line.trim_start().split_once(": ") {
            match (key, value.parse()) {
                ("Filename", Ok(index)) => request.files.push(index),
                ("Function index", Ok(index)) => function = index,
                ("Line", Ok(number)) => {
                    let number = u32::try_from(number).unwrap_or_default();
                    request.lines.push((function, number));
                }
                _ => {}
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "2026 info Profiles\n2026 info Mapping #0
    File name: 0
Location #0
Location #1
    Line #0
        Function index: 1
        Line: 67
        Column: 3
Function #0
    Filename: 0
Function #1
    Name: 3
    Filename: 2
String table:
    \n    cache\n    a.rs\n    on_request
ResourceProfiles #0
Profile #0
Profile #1
";

    #[test]
    fn a_line_is_found_through_the_tables() {
        let requests = profiles(OUTPUT);
        let [request] = requests.as_slice() else {
            panic!("{requests:?}");
        };
        assert_eq!(request.strings, ["", "cache", "a.rs", "on_request"]);
        assert_eq!(request.profile_count, 2);
        assert!(request.has_line("a.rs", 67));
        assert!(!request.has_line("a.rs", 66));
        assert!(!request.has_line("cache", 67));
    }

    #[test]
    fn other_output_has_no_profile() {
        assert_eq!(profiles("2026 info Everything is ready\nLine: 3\n"), []);
    }
}
