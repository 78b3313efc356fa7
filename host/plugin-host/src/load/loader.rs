//! From bytes to a component that is ready to instantiate. Blocking work: never on an async thread.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use guest_heap::{InstrumentedMeta, Options};

use crate::bindings::{LeakPlugin, LeakPluginPre};
use crate::error::PluginError;
use crate::instance::StoreState;
use crate::load::cache::Cache;

/// Compiles components, or takes them from the cache.
#[derive(Clone)]
pub struct Loader {
    engine: Engine,
    linker: Arc<Linker<StoreState>>,
    cache: Cache,
    /// Components larger than this are refused, in bytes.
    size_max: u64,
}

/// A compiled component with what is known of its origin.
pub struct Loaded {
    /// Makes instances.
    pub pre: LeakPluginPre<StoreState>,
    /// Where it came from.
    pub origin: Origin,
    /// What the heap profiler knows of it.
    pub meta: Arc<InstrumentedMeta>,
    /// Whether it keeps books of its heap.
    pub profile: Profile,
    /// Whether its code is mapped from a file of the cache.
    in_file: bool,
}

impl Loaded {
    /// Lets go of the code that has run so far: one that only had to say what it is may not run again for long.
    pub(crate) fn release_pages(&self) {
        if self.in_file {
            Cache::release_pages(self.pre.instance_pre().component());
        }
    }
}

/// Whether a component is to keep books of its heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Instrumented: live bytes by source line.
    Exact,
    /// As it is.
    Off,
}

impl Profile {
    /// The profile that a setting asks for.
    pub fn wanted(heap_profile: bool) -> Self {
        if heap_profile {
            Profile::Exact
        } else {
            Profile::Off
        }
    }
}

/// Where a component came from and what it took to get it ready.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The file it was read from; for one that is in no file, the name it was sent under.
    pub path: PathBuf,
    /// The component itself, when no file has it.
    pub kept: Option<Arc<[u8]>>,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// How long compiling took, or taking it from the cache.
    pub compile_time: Duration,
    /// Whether it came from the cache.
    pub cached: bool,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Machine code in bytes.
    pub code_bytes: u64,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("origin", &self.origin)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Origin {
    /// Whether it is the same component from the same place.
    pub(crate) fn is_of(&self, other: &Origin) -> bool {
        self.digest == other.digest
            && self.path == other.path
            && self.kept.is_some() == other.kept.is_some()
    }
}

impl Loader {
    /// A loader whose components may import WASI and the lab's logging, nothing else.
    ///
    /// # Errors
    ///
    /// Only if two of those definitions clash.
    pub fn new(engine: Engine, cache: Cache, size_max: u64) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        LeakPlugin::add_to_linker::<_, HasSelf<StoreState>>(&mut linker, |state| state)?;
        guest_heap::add_to_linker(&mut linker, StoreState::recorder)?;
        Ok(Loader {
            engine,
            linker: Arc::new(linker),
            cache,
            size_max,
        })
    }

    /// The same loader for components that nobody will ask for again.
    pub(crate) fn without_cache(&self) -> Self {
        Loader {
            cache: self.cache.without_folder(),
            ..self.clone()
        }
    }

    /// The most bytes that a component may have.
    pub fn size_max(&self) -> u64 {
        self.size_max
    }

    /// Reads and compiles a file.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unreadable`], [`PluginError::TooLarge`] and [`PluginError::Refused`].
    pub(crate) fn load_file(&self, path: &Path, profile: Profile) -> Result<Loaded, PluginError> {
        let unreadable = |source| PluginError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        self.check_size(size)?;
        let bytes = std::fs::read(path).map_err(unreadable)?;
        self.load(&bytes, path, profile)
    }

    /// An error when a component of so many bytes is not taken.
    ///
    /// # Errors
    ///
    /// [`PluginError::TooLarge`].
    pub(crate) fn check_size(&self, bytes: u64) -> Result<(), PluginError> {
        if bytes > self.size_max {
            return Err(PluginError::TooLarge {
                size: Some(bytes),
                limit: self.size_max,
            });
        }
        Ok(())
    }

    /// Instruments and compiles a component, or takes it from the cache.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`], with what is missing from the contract.
    pub fn load(&self, bytes: &[u8], path: &Path, profile: Profile) -> Result<Loaded, PluginError> {
        let started = Instant::now();
        let digest = hex(&Sha256::digest(bytes));
        let key = match profile {
            Profile::Exact => format!("{digest}-exact"),
            Profile::Off => format!("{digest}-off"),
        };
        let kept = self.cache.get(&self.engine, &key);
        let kept = kept.and_then(|(c, side)| Some((c, InstrumentedMeta::from_bytes(&side).ok()?)));
        let cached = kept.is_some();
        let mut in_file = cached;
        let (component, meta) = match kept {
            Some((component, meta)) => (component, Arc::new(meta)),
            None => {
                let (component, meta) = self.compile(bytes, profile)?;
                self.cache.put(&key, &component, &meta.to_bytes());
                // From the file, only what runs becomes resident; what was just compiled is resident as a whole.
                match self.cache.get(&self.engine, &key) {
                    Some((mapped, _)) => {
                        in_file = true;
                        (mapped, meta)
                    }
                    None => (component, meta),
                }
            }
        };
        self.cache.put_original(&digest, bytes);
        let compile_time = started.elapsed();
        let imports = component
            .component_type()
            .imports(&self.engine)
            .map(|(name, _)| name.to_owned())
            .filter(|name| name != guest_heap::HOST_INTERFACE)
            .collect();
        let code = component.image_range();
        let code_bytes = (code.end as u64).saturating_sub(code.start as u64);
        let pre = self
            .linker
            .instantiate_pre(&component)
            .and_then(LeakPluginPre::new)
            .map_err(|e| {
                PluginError::Refused(format!(
                    "the component does not fit the contract leak-lab:plugin@0.1.0: {}",
                    chain(&e)
                ))
            })?;
        let origin = Origin {
            path: path.to_owned(),
            kept: None,
            digest,
            size: bytes.len() as u64,
            compile_time,
            cached,
            imports,
            code_bytes,
        };
        Ok(Loaded {
            pre,
            origin,
            meta,
            profile,
            in_file,
        })
    }

    /// The same component with another profile.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unreadable`] when neither its file nor the cache has it any more.
    pub fn reload(&self, origin: &Origin, profile: Profile) -> Result<Loaded, PluginError> {
        let mut loaded = self.load(&self.original(origin)?, &origin.path, profile)?;
        loaded.origin.kept = origin.kept.clone();
        Ok(loaded)
    }

    /// The bytes that a plugin was loaded from.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unreadable`] when neither its file nor the cache has them any more.
    pub fn original(&self, origin: &Origin) -> Result<Vec<u8>, PluginError> {
        if let Some(kept) = &origin.kept {
            return Ok(kept.to_vec());
        }
        let same = |bytes: &Vec<u8>| hex(&Sha256::digest(bytes)) == origin.digest;
        let unreadable = |source| PluginError::Unreadable {
            path: origin.path.clone(),
            source,
        };
        match std::fs::read(&origin.path) {
            Ok(bytes) if same(&bytes) => Ok(bytes),
            read => {
                self.cache
                    .original(&origin.digest)
                    .filter(same)
                    .ok_or_else(|| {
                        unreadable(read.err().unwrap_or_else(|| {
                            std::io::Error::other("it is another component now")
                        }))
                    })
            }
        }
    }

    fn compile(
        &self,
        bytes: &[u8],
        profile: Profile,
    ) -> Result<(Component, Arc<InstrumentedMeta>), PluginError> {
        if bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
            return Err(PluginError::Refused(
                "this is a core module, not a component; build it for the target wasm32-wasip2"
                    .into(),
            ));
        }
        let compiled = |bytes: &[u8]| {
            Component::from_binary(&self.engine, bytes).map_err(|e| {
                PluginError::Refused(format!(
                    "this is no component that can be compiled: {}",
                    chain(&e)
                ))
            })
        };
        if profile == Profile::Off {
            let meta = InstrumentedMeta::off("switched off: heap_profile is off");
            return Ok((compiled(bytes)?, Arc::new(meta)));
        }
        let instrumented = guest_heap::instrument(bytes, &Options::default())
            .map_err(|e| PluginError::Refused(format!("this is no component: {e}")))?;
        Ok((compiled(&instrumented.component)?, instrumented.meta))
    }
}

/// An error with its causes on one line.
pub fn chain(error: &wasmtime::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', " ");
        if !parts.iter().any(|p| p.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}
