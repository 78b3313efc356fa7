//! The trace id in the lines that are logged while a request is answered.
//!
//! It travels with the request's task and is looked at only when a line is written. A span of the log for each request
//! would do the same, and cost a twelfth of the throughput whether lines are written or not.

use std::fmt;

use opentelemetry::trace::TraceId;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

tokio::task_local! {
    static TRACE: TraceId;
}

/// Answers a request: every line that is logged meanwhile carries its trace id.
pub(super) fn within<W: Future>(trace: TraceId, work: W) -> impl Future<Output = W::Output> {
    TRACE.scope(trace, work)
}

/// Fields as text, and the trace id as the last one. Spans would have it too; the host makes none.
pub(super) struct TextFields(DefaultFields);

impl TextFields {
    pub(super) fn new() -> Self {
        Self(DefaultFields::new())
    }
}

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        match TRACE.try_get() {
            Ok(trace) => write!(writer, " trace_id={trace}"),
            // Not on behalf of a request.
            Err(_) => Ok(()),
        }
    }
}

/// Lines as JSON, with a member `span` that has the trace id.
pub(super) struct JsonLines<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for JsonLines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Ok(trace) = TRACE.try_get() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        match line.trim_end().strip_suffix('}') {
            Some(members) => writeln!(
                writer,
                r#"{members},"span":{{"name":"request","trace_id":"{trace}"}}}}"#
            ),
            None => writer.write_str(&line),
        }
    }
}
