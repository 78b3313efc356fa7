//! Components that are made to hurt the host. Whatever they do, the host serves, and nothing of a
//! refused one is left.

mod compiling;
mod deadline;
mod files;
mod fuzz;
mod ledger;
mod many_cores;
mod memory;
mod startup;
mod texts;
mod uninterruptible;

use std::fs;
use std::path::Path;

use xtask_hostile::Plugin;

use crate::lab::{Lab, LabBuilder};

/// The component of a plugin that is written by hand.
fn build(plugin: &Plugin) -> Vec<u8> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    plugin.build(&wit).unwrap()
}

/// A lab with the shipped plugins `others`, and with this plugin, which may not be loadable.
fn lab_with(plugin: &Plugin, others: &[&str]) -> LabBuilder {
    Lab::with(others).file(&format!("{}.wasm", plugin.id), &build(plugin))
}

/// The process ids of the host's child processes.
fn children(lab: &Lab) -> Vec<u32> {
    let host = lab.proc_folder();
    let host = host.file_name().unwrap().to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name may contain spaces. After it come the state and the parent.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().nth(1) == Some(host)
    })
    .collect()
}
