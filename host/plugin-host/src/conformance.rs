//! Checks whether a component keeps the promises of the contract.
//!
//! The host drives the component through some hundred requests, in stores that no other code sees
//! and that are dropped afterwards. It compares what the component reports with its heap tables.
//! The runs are in `runs`. The rules are in `rules`, one for each row of the report, with their
//! tolerances.

mod generated_request;
mod options;
mod report;
mod rules;
mod runs;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use guest_heap::symbols::Symbols;

use crate::blocking::{on_own_thread, run_blocking};
use crate::conformance::options::{MAX_DURATION, MAX_MEMORY_BYTES};
use crate::conformance::rules::Evidence;
use crate::error::PluginError;
use crate::instance::backtrace::symbolize;
use crate::load::compiler::Urgency;
use crate::load::loader::{CompiledComponent, Loader};
use crate::load::manifest::Manifest;
use crate::load::started_plugin::start_and_describe;
use crate::settings::HeapProfile;

pub use self::options::{CheckOptions, REQUESTS, REQUESTS_RANGE};
pub use self::report::{CheckReport, CheckRow, RowStatus};

/// Checks a component. The report contains whatever the component does wrong. Nothing of the
/// component is left when this returns.
///
/// # Errors
///
/// [`PluginError::TooLarge`], [`PluginError::TooCostly`], [`PluginError::CompilerBusy`] and
/// [`PluginError::Internal`]: the component was not checked.
pub async fn check(
    loader: &Loader,
    component: Arc<[u8]>,
    options: CheckOptions,
) -> Result<CheckReport, PluginError> {
    loader.check_size(component.len() as u64)?;
    let started = Instant::now();
    let prepared = match prepare(loader, &component).await {
        Ok(prepared) => prepared,
        Err(
            error @ (PluginError::Internal(_)
            | PluginError::CompilerBusy
            | PluginError::TooCostly(_)),
        ) => return Err(error),
        Err(error) => {
            return Ok(CheckReport {
                id: None,
                version: None,
                digest: None,
                requests: options.requests,
                took: started.elapsed(),
                rows: rules::refused(&error),
            });
        }
    };
    let Prepared {
        compiled,
        manifest,
        symbols,
    } = prepared;
    let until = started + MAX_DURATION;
    let running = on_own_thread(async move {
        let observed = runs::observe(&compiled, &manifest, &symbols, options, until).await;
        (compiled, manifest, symbols, observed)
    });
    let (compiled, manifest, symbols, mut observations) = running.await?;
    for fault in observations.faults_mut() {
        fault.backtrace = symbolize(&symbols, &fault.backtrace);
    }
    let rows = rules::judge(&Evidence {
        component: &compiled,
        manifest: &manifest,
        observations: &observations,
        deadline: options.deadline,
    });
    Ok(CheckReport {
        id: Some(manifest.id.clone()),
        version: Some(manifest.version.clone()),
        digest: Some(compiled.source.digest.clone()),
        requests: options.requests,
        took: started.elapsed(),
        rows,
    })
}

/// A component that is ready for its runs.
struct Prepared {
    compiled: CompiledComponent,
    manifest: Manifest,
    symbols: Arc<Symbols>,
}

async fn prepare(loader: &Loader, component: &Arc<[u8]>) -> Result<Prepared, PluginError> {
    let compiled = loader
        .without_cache()
        .load(
            component.clone(),
            Path::new("the component"),
            HeapProfile::Exact,
            Urgency::Client,
        )
        .await?;
    let describing = on_own_thread(async move {
        let described = describe_twice(&compiled).await;
        described.map(|manifest| (compiled, manifest))
    });
    let (compiled, manifest) = describing.await??;
    let component = component.clone();
    let loader = loader.clone();
    let symbols = run_blocking(move || loader.read_symbols(&component));
    Ok(Prepared {
        compiled,
        manifest,
        symbols: Arc::new(symbols.await?),
    })
}

/// Reads the manifest from two instances. The answer must not depend on the instance.
async fn describe_twice(component: &CompiledComponent) -> Result<Manifest, PluginError> {
    let (_, first) = start_and_describe(component, Some("check"), MAX_MEMORY_BYTES).await?;
    let (_, second) = start_and_describe(component, Some("check"), MAX_MEMORY_BYTES).await?;
    if first != second {
        return Err(PluginError::Refused(
            "two instances of it describe themselves differently".into(),
        ));
    }
    Ok(first)
}
