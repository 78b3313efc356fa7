//! Whether a component keeps the promises that the lab makes in its name.
//!
//! A component is driven through some hundred requests in stores of its own, which nobody else sees and which are gone
//! afterwards; what it says is compared with what the books of its heap say. The rules are in [`rules`], one for each
//! row of the report, and each states its tolerance there.

mod drive;
mod report;
mod rules;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_heap::symbols::Symbols;

pub use self::report::{Report, Row};
use crate::error::PluginError;
use crate::instance::Instance;
use crate::instance::backtrace::{located, symbol_options};
use crate::load::loader::{Loaded, Loader, Profile};
use crate::load::manifest::Manifest;
use crate::registry::blocking;

/// Requests of one run, unless asked for otherwise.
pub const REQUESTS: u32 = 200;
/// The fewest and the most that can be asked for: below, growth cannot be told from warming up.
pub const REQUESTS_RANGE: std::ops::RangeInclusive<u32> = 50..=5000;
/// Time that a whole check may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Linear memory that a component may take while it is checked, in bytes.
const MEMORY_MAX: u64 = 512 << 20;

/// How a component is checked.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Requests of one run.
    pub requests: u32,
    /// Time that one call may take.
    pub deadline: Duration,
}

/// Checks a component. Whatever it does is in the report; nothing of it is left when this returns.
///
/// # Errors
///
/// [`PluginError::TooLarge`]: then nothing was checked.
pub async fn check(
    loader: &Loader,
    component: Arc<[u8]>,
    terms: Terms,
) -> Result<Report, PluginError> {
    loader.check_size(component.len() as u64)?;
    let started = Instant::now();
    let loaded = {
        let (loader, component) = (loader.without_cache(), component.clone());
        let path = PathBuf::from("the component");
        blocking(move || loader.load(&component, &path, Profile::Exact)).await
    };
    let accepted = match loaded {
        Ok(loaded) => describe(&loaded).await.map(|manifest| (loaded, manifest)),
        Err(error) => Err(error),
    };
    let (loaded, manifest) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return Ok(Report::refused(terms, &error, started.elapsed())),
    };
    let symbols = {
        let component = component.clone();
        blocking(move || {
            Symbols::new(&component, symbol_options())
                .map_err(|e| PluginError::Refused(format!("its symbols cannot be read: {e}")))
        })
        .await
    };
    let symbols = match symbols {
        Ok(symbols) => Arc::new(symbols),
        Err(error) => return Ok(Report::refused(terms, &error, started.elapsed())),
    };
    let mut observed =
        drive::observe(&loaded, &manifest, &symbols, terms, started + TIME_MAX).await;
    for fault in observed.faults_mut() {
        fault.backtrace = located(&symbols, &fault.backtrace);
    }
    let rows = rules::judge(&loaded, &manifest, &observed, terms);
    Ok(Report {
        id: Some(manifest.id.clone()),
        version: Some(manifest.version.clone()),
        digest: Some(loaded.origin.digest.clone()),
        requests: terms.requests,
        took: started.elapsed(),
        rows,
    })
}

/// Starts an instance only to ask it what it is, twice: the answer must not depend on the instance.
async fn describe(loaded: &Loaded) -> Result<Manifest, PluginError> {
    let mut first = None;
    for _ in 0..2 {
        let mut instance = Instance::start(loaded, "check", MEMORY_MAX)
            .await
            .map_err(|fault| {
                PluginError::Refused(format!("the component does not start: {fault}"))
            })?;
        let manifest = instance.describe().await?;
        match &first {
            None => first = Some(manifest),
            Some(first) if *first != manifest => {
                return Err(PluginError::Refused(
                    "two instances of it describe themselves differently".into(),
                ));
            }
            Some(_) => {}
        }
    }
    first.ok_or_else(|| PluginError::Refused("it does not describe itself".into()))
}
