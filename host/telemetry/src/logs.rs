//! The service's log on stderr: lines as text or JSON, with the trace id of their request.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use super::log_trace_id::{JsonLines, TextFields};

/// Filter and format of the log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub struct LogOptions {
    /// Filter of the log: a level, or directives such as `info,plugin_host=debug`
    #[arg(
        long = "log",
        env = "RUST_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub filter: String,

    /// Format of the log
    #[arg(long = "log-format", env = "LEAK_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub format: LogFormat,
}

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line, with the trace id in `.span.trace_id`
    Json,
}

/// The log cannot be initialised.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be parsed.
    #[error("the log filter `{filter}` is not valid: {reason}")]
    Filter {
        /// The text of the filter.
        filter: String,
        /// The parser's message.
        reason: String,
    },
    /// The process already has a log.
    #[error(transparent)]
    Init(#[from] TryInitError),
}

/// Makes stderr the log of the process. Call it once.
///
/// # Errors
/// When the filter is not valid, or the process already has a log.
pub fn init(options: &LogOptions) -> Result<(), LogError> {
    let colours = io::stderr().is_terminal();
    Ok(subscriber(options, io::stderr, colours)?.try_init()?)
}

/// A log that writes to `writer`. An empty filter (`RUST_LOG=`) means the default filter.
fn subscriber<W>(
    options: &LogOptions,
    writer: W,
    colours: bool,
) -> Result<impl Subscriber + Send + Sync + use<W>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = if options.filter.trim().is_empty() {
        "info"
    } else {
        options.filter.as_str()
    };
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| LogError::Filter {
            filter: options.filter.clone(),
            reason: error.to_string(),
        })?;
    let lines = fmt::layer().with_writer(writer);
    let lines = match options.format {
        LogFormat::Text => lines
            .with_ansi(colours)
            .fmt_fields(TextFields::new())
            .boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .map_event_format(JsonLines)
            .boxed(),
    };
    Ok(registry().with(filter).with(lines))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::traces::Tracer;

    /// A log in memory.
    #[derive(Debug, Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn subscriber(
            &self,
            filter: &str,
            format: LogFormat,
        ) -> impl Subscriber + Send + Sync + use<> {
            let lines = self.clone();
            subscriber(
                &LogOptions {
                    filter: filter.to_owned(),
                    format,
                },
                move || lines.clone(),
                false,
            )
            .unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The log of a request that logs a warning, and the trace id of the request.
    fn logged(filter: &str, format: LogFormat) -> (String, String) {
        let lines = Lines::default();
        let trace_id = tracing::subscriber::with_default(lines.subscriber(filter, format), || {
            let request = Tracer::disabled().request(&axum::http::Request::new(()), "/api/data");
            let handler = request.with_trace_id(async {
                tracing::debug!("below the level");
                tracing::warn!(plugin = "cache", "it trapped");
            });
            futures_util::FutureExt::now_or_never(handler).unwrap();
            request.context().trace_id().to_string()
        });
        (lines.text(), trace_id)
    }

    #[test]
    fn json_lines_carry_the_trace_id() {
        let (text, trace_id) = logged("info", LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["span"]["trace_id"], trace_id);
        assert_eq!(line["plugin"], "cache");
        assert_eq!(line["message"], "it trapped");
        assert_eq!(line["level"], "WARN");
    }

    #[test]
    fn text_lines_carry_the_trace_id_under_any_filter() {
        for filter in ["info", "warn", ""] {
            let (text, trace_id) = logged(filter, LogFormat::Text);
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(
                text.contains(&trace_id) && text.contains("it trapped"),
                "{text}"
            );
            assert!(!text.contains('\x1b'), "{text:?}");
        }
        assert_eq!(logged("error", LogFormat::Text).0, "");
    }

    #[test]
    fn lines_outside_a_request_have_no_trace_id() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = Lines::default();
            tracing::subscriber::with_default(lines.subscriber("info", format), || {
                tracing::info!("it has started");
            });
            let text = lines.text();
            assert!(text.contains("it has started") && !text.contains("trace_id"));
        }
    }

    #[test]
    fn an_invalid_filter_is_an_error() {
        let options = LogOptions {
            filter: "leak_host=loud".to_owned(),
            format: LogFormat::Text,
        };
        let error = subscriber(&options, io::stderr, false)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("the log filter `leak_host=loud` is not valid"),
            "{error}"
        );
    }
}
