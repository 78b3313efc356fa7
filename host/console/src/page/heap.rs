//! The views of the heap: tables, source code and flame graphs.

use maud::{Markup, html};

/// The controls of both views: plugin, grouping and baseline.
pub(crate) fn controls() -> Markup {
    html! {
        form #compare .card hidden aria-label="Heap view" {
            div.row {
                label for="against" { "Show" }
                select #against {
                    option value="live" { "live memory" }
                    @for minutes in [1, 5, 15] {
                        option value=(format!("since:{minutes}m")) selected[minutes == 5] {
                            "change in " (minutes) " min"
                        }
                    }
                    option value="snapshots" { "change between two snapshots" }
                    optgroup #baselines label="change since a baseline" {}
                }
                label for="of-plugin" { "Plugin" }
                select #of-plugin { option value="" { "all plugins" } }
                span.row #grouping {
                    label for="group" { "Group by" }
                    select #group {
                        @for group in ["line", "function", "file", "trace"] {
                            option value=(group) { @if group == "trace" { "call stack" } @else { (group) } }
                        }
                    }
                }
                button #refresh type="submit" { "Refresh" }
                span #heap-age .hint {}
            }
            div.row {
                button #snapshot-take type="button" { "Take snapshot" }
                span.row #snapshot-choice hidden {
                    label for="snapshot-from" { "From" }
                    select #snapshot-from {}
                    label for="snapshot-to" { "to" }
                    select #snapshot-to {}
                }
                label for="baseline-name" { "New baseline" }
                input #baseline-name pattern="[A-Za-z0-9_\\-]{1,40}" maxlength="40" placeholder="before"
                    title="1 to 40 letters, digits, dashes and underscores";
                button #baseline-set type="button" { "Set" }
                button #baseline-delete type="button" hidden { "Delete baseline" }
                output #baseline-result {}
            }
        }
    }
}

/// The table of lines, and the source code of one line.
pub(crate) fn memory() -> Markup {
    html! {
        div.card {
            h2 #memory-title { "Memory by source line" }
            p #memory-summary role="status" {}
            p #memory-attribution .hint {}
            div.scroll tabindex="0" role="group" aria-label="Lines" {
                // Explicit roles: a narrow page lays the cells out as a stack, and without roles a
                // browser would not expose it as a table.
                table #growing .lines role="table" {
                    caption {}
                    thead role="rowgroup" {
                        tr role="row" {
                            th.place scope="col" role="columnheader" data-column="place" { "Line" }
                            th.function scope="col" role="columnheader" data-column="function" { "Function" }
                            th scope="col" role="columnheader" { "Plugin" }
                            th.number scope="col" role="columnheader" data-column="bytes" { "Bytes" }
                            th.number scope="col" role="columnheader" data-column="objects" { "Objects" }
                            th.number scope="col" role="columnheader" data-column="now" { "Now" }
                            th scope="col" role="columnheader" { "Share" }
                        }
                    }
                    tbody role="rowgroup" {}
                }
            }
        }
        div #growth .card hidden {
            h2 { "Growth of linear memory by line" }
            p.hint {
                "For plugins whose heap the profiler does not see completely. It counts whole pages of 64 KiB since the "
                "instance started, and a page can have been used again since."
            }
            div.scroll tabindex="0" role="group" aria-label="Growth by line" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Line" }
                            th scope="col" { "Function" }
                            th scope="col" { "Plugin" }
                            th.number scope="col" { "Growth" }
                            th.number scope="col" { "Not seen by the profiler" }
                        }
                    }
                    tbody #growth-lines {}
                }
            }
        }
        div #source .card hidden tabindex="-1" aria-labelledby="source-title" {
            div.head {
                h2 #source-title { "Source" }
                button #source-close type="button" { "Close" }
            }
            p #source-note .hint {}
            div.sources {
                pre #source-text tabindex="0" aria-label="Source" {}
                div #source-fixed hidden {
                    h3 { "The fixed variant, in the same file" }
                    pre #source-fixed-text tabindex="0" aria-label="Source of the fixed variant" {}
                }
            }
            h3 { "Call stacks with live memory at this line" }
            div #source-stacks {}
        }
    }
}

/// The flame graph.
pub(crate) fn flame() -> Markup {
    html! {
        div.card {
            h2 #flame-title { "Flame graph" }
            p.hint {
                "Plugins are at the bottom; callees stack above. The width of a box is the live bytes of the function and its "
                "callees. In a comparison it is the change: red grew, blue shrank. Click a box to zoom."
            }
            form #flame-search .row {
                label for="flame-term" { "Search" }
                input #flame-term type="search" placeholder="on_request";
                button type="submit" { "Find" }
                button #flame-reset type="button" { "Reset zoom" }
                label { input #flame-libraries type="checkbox"; " library frames" }
                output #flame-matched {}
            }
            p #flame-legend .hint {}
            div.scroll tabindex="0" role="group" aria-label="Flame graph" {
                iframe #flame-frame title="Flame graph of live bytes by call stack" {}
            }
            p #flame-error .error role="alert" {}
        }
    }
}
