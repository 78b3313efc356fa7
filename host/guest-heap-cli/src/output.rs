//! The files that `--output` writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use guest_heap::pprof::ProfileBuilder;
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::{Attribution, flamegraph, folded};
use serde::Serialize;

use crate::heap::Heap;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    Pprof,
    Folded,
    Flamegraph,
    Json,
}

impl FileFormat {
    /// The format that a file name asks for.
    ///
    /// # Errors
    /// When the name has no known ending.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for (ending, format) in [
            (".pb.gz", Self::Pprof),
            (".folded", Self::Folded),
            (".svg", Self::Flamegraph),
            (".json", Self::Json),
        ] {
            if name.ends_with(ending) {
                return Ok(format);
            }
        }
        bail!(
            "--output {}: the name must end in .pb.gz (pprof), .folded, .svg or .json",
            path.display()
        )
    }
}

/// Checks the files before the guest runs.
///
/// # Errors
/// When a name has no known ending, or the folder of a file does not exist.
pub(crate) fn check(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        FileFormat::of(path)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            bail!(
                "--output {}: {} is no folder",
                path.display(),
                folder.display()
            );
        }
    }
    Ok(())
}

/// Writes a heap to files, and says so. A file that cannot be written does not stop the others.
///
/// # Errors
/// When one of the files cannot be written: the error of the first one.
pub(crate) fn write_all(paths: &[PathBuf], heap: &Heap) -> Result<()> {
    let mut written = Ok(());
    for path in paths {
        match write(path, heap) {
            Ok(()) => stderr_line!("written: {}", path.display()),
            Err(error) => written = written.and(Err(error)),
        }
    }
    written
}

fn write(path: &Path, heap: &Heap) -> Result<()> {
    let snapshot = &heap.snapshot;
    let bytes = match FileFormat::of(path)? {
        FileFormat::Pprof => {
            let mut profile = ProfileBuilder::new(SystemTime::now());
            profile.add("guest", snapshot);
            profile.encode()
        }
        FileFormat::Folded => folded::live_bytes(snapshot, None).into_bytes(),
        FileFormat::Flamegraph => {
            flamegraph::live_bytes("Live bytes", &[("guest", snapshot)])?.into_bytes()
        }
        FileFormat::Json => serde_json::to_vec_pretty(&Document::of(heap))?,
    };
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The JSON form of a heap. Sizes are in bytes.
#[derive(Serialize)]
struct Document<'a> {
    attribution: &'static str,
    /// Why the attribution is not exact.
    why: Option<&'a str>,
    /// `null`, as the other counts of blocks, if the profiler sees no allocation.
    live_bytes: Option<u64>,
    live_blocks: Option<u64>,
    allocated_bytes: Option<u64>,
    allocated_blocks: Option<u64>,
    linear_memory_bytes: u64,
    /// `null` if the memory belongs to a module that is not instrumented.
    static_bytes: Option<u64>,
    heap_seen_bytes: u64,
    heap_unseen_bytes: u64,
    lines: Vec<Line>,
    handles: Handles,
    /// Growth of memory that no allocator entry point made.
    unseen_growth: Vec<UnseenGrowth<'a>>,
}

#[derive(Serialize)]
struct Line {
    location: String,
    function: String,
    live_bytes: u64,
    live_blocks: u64,
    allocated_bytes: u64,
    allocated_blocks: u64,
}

#[derive(Serialize)]
struct Handles {
    /// `null` if handles are not counted.
    live: Option<u64>,
    lines: Vec<HandleLine>,
    not_counted: Vec<String>,
}

#[derive(Serialize)]
struct HandleLine {
    location: String,
    function: String,
    #[serde(rename = "type")]
    ty: String,
    live: u64,
    ever_got: u64,
}

#[derive(Serialize)]
struct UnseenGrowth<'a> {
    bytes: u64,
    /// Functions, innermost first.
    stack: &'a [String],
}

impl<'a> Document<'a> {
    fn of(heap: &'a Heap) -> Self {
        let totals = heap.snapshot.totals();
        let coverage = heap.snapshot.coverage();
        let measured = |count: u64| heap.measures_blocks().then_some(count);
        let known = |bytes| coverage.memory_is_known().then_some(bytes);
        let (attribution, why) = attribution_words(&heap.attribution);
        Self {
            attribution,
            why,
            live_bytes: measured(totals.live_bytes),
            live_blocks: measured(totals.live_objects),
            allocated_bytes: measured(totals.allocated_bytes),
            allocated_blocks: measured(totals.allocated_objects),
            linear_memory_bytes: known(coverage.memory_bytes).unwrap_or(heap.linear_memory),
            static_bytes: known(coverage.static_bytes),
            heap_seen_bytes: coverage.heap_seen_bytes,
            heap_unseen_bytes: coverage.heap_unseen_bytes,
            lines: lines(&heap.snapshot),
            handles: handles(heap),
            unseen_growth: heap
                .unseen
                .iter()
                .map(|(bytes, stack)| UnseenGrowth {
                    bytes: *bytes,
                    stack,
                })
                .collect(),
        }
    }
}

fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let groups = snapshot.top(GroupBy::Line, usize::MAX);
    let lines = groups.into_iter().map(|group| Line {
        location: group.location.to_string(),
        function: group.site.function.to_string(),
        live_bytes: group.usage.live_bytes,
        live_blocks: group.usage.live_objects,
        allocated_bytes: group.usage.allocated_bytes,
        allocated_blocks: group.usage.allocated_objects,
    });
    lines.collect()
}

fn handles(heap: &Heap) -> Handles {
    let snapshot = &heap.snapshot;
    let groups = snapshot.top_handles(GroupBy::Line, usize::MAX);
    let lines = groups.into_iter().map(|group| HandleLine {
        location: group.location.to_string(),
        function: group.site.function.to_string(),
        ty: group.ty.to_string(),
        live: group.live,
        ever_got: group.made,
    });
    let counts = snapshot.handle_counts();
    Handles {
        live: counts.are_known().then(|| snapshot.live_handles()),
        lines: lines.collect(),
        not_counted: counts.not_counted(),
    }
}

/// `exact`, `partial` or `off`, and the reason.
pub(crate) fn attribution_words(attribution: &Attribution) -> (&'static str, Option<&str>) {
    match attribution {
        Attribution::Exact => ("exact", None),
        Attribution::Partial { why } => ("partial", Some(why)),
        Attribution::Off { why } => ("off", Some(why)),
    }
}
