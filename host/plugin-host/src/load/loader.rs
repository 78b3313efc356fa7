//! From bytes to a component that is ready to instantiate. All of it is blocking work: never call
//! it on an async thread.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use guest_heap::{InstrumentError, InstrumentedMeta, Options};

use crate::bindings::{LeakPlugin, LeakPluginPre};
use crate::error::{Fault, PluginError, with_causes};
use crate::instance::{Instance, StoreState};
use crate::load::cache::Cache;
use crate::load::declarations::Declarations;
use crate::settings::HeapProfile;

/// Compiles components, or reads them from the cache. Clones share the engine and the linker.
#[derive(Clone)]
pub struct Loader {
    engine: Engine,
    linker: Arc<Linker<StoreState>>,
    cache: Cache,
    /// The largest accepted component, in bytes.
    max_size: u64,
}

/// A compiled component and its source.
pub(crate) struct CompiledComponent {
    pre: LeakPluginPre<StoreState>,
    /// Where it came from.
    pub(crate) source: ComponentSource,
    /// What the heap profiler needs to read its instances.
    pub(crate) meta: Arc<InstrumentedMeta>,
    /// Whether it is instrumented.
    pub(crate) profile: HeapProfile,
    /// Whether its code is mapped from a file of the cache.
    mapped_from_cache: bool,
}

impl CompiledComponent {
    /// Starts an instance with at most `memory_limit` bytes of linear memory. The guest's output is
    /// logged under `log_name`.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when it traps, takes too long, or needs more memory.
    pub(crate) async fn start_instance(
        &self,
        log_name: &str,
        memory_limit: u64,
    ) -> Result<Instance, Fault> {
        Instance::start(&self.pre, &self.meta, log_name, memory_limit).await
    }

    /// Releases the resident pages of the code. A component that has only described itself may not
    /// run again for a long time.
    pub(crate) fn release_pages(&self) {
        if self.mapped_from_cache {
            Cache::release_pages(self.pre.instance_pre().component());
        }
    }
}

/// Where a component came from and what its preparation took.
#[derive(Debug, Clone)]
pub struct ComponentSource {
    /// The file it was read from; for a component that is in no file, the name of its upload.
    pub path: PathBuf,
    /// The bytes of a component that is in no file.
    pub in_memory: Option<Arc<[u8]>>,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Identifies the declarations of its allocator; empty without any.
    pub declarations: String,
    /// Its size in bytes.
    pub size: u64,
    /// Time to compile it, or to read it from the cache.
    pub compile_time: Duration,
    /// Whether it came from the cache.
    pub cached: bool,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Size of its machine code in bytes.
    pub code_bytes: u64,
}

impl fmt::Debug for CompiledComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledComponent")
            .field("source", &self.source)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl ComponentSource {
    /// Whether `other` is the same component from the same place.
    pub(crate) fn is_same(&self, other: &ComponentSource) -> bool {
        self.digest == other.digest
            && self.declarations == other.declarations
            && self.path == other.path
            && self.in_memory.is_some() == other.in_memory.is_some()
    }
}

impl Loader {
    /// A loader whose components may import WASI and the lab's logging, and nothing else. It
    /// refuses components of more than `max_size` bytes.
    ///
    /// # Errors
    ///
    /// When two of those definitions have the same name.
    pub fn new(engine: Engine, cache: Cache, max_size: u64) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        LeakPlugin::add_to_linker::<_, HasSelf<StoreState>>(&mut linker, |state| state)?;
        guest_heap::add_to_linker(&mut linker, StoreState::recorder)?;
        Ok(Loader {
            engine,
            linker: Arc::new(linker),
            cache,
            max_size,
        })
    }

    /// The same loader without a cache, for components that are loaded once only.
    pub(crate) fn without_cache(&self) -> Self {
        Loader {
            cache: self.cache.without_folder(),
            ..self.clone()
        }
    }

    /// The largest accepted component, in bytes.
    pub fn max_size(&self) -> u64 {
        self.max_size
    }

    /// Reads and compiles a file.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unreadable`], [`PluginError::TooLarge`] and [`PluginError::Refused`].
    pub(crate) fn load_file(
        &self,
        path: &Path,
        profile: HeapProfile,
    ) -> Result<CompiledComponent, PluginError> {
        let unreadable = |source| PluginError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        self.check_size(size)?;
        let bytes = std::fs::read(path).map_err(unreadable)?;
        self.load(&bytes, path, profile)
    }

    /// Checks the size of a component, in bytes.
    ///
    /// # Errors
    ///
    /// [`PluginError::TooLarge`] when it exceeds the limit.
    pub(crate) fn check_size(&self, bytes: u64) -> Result<(), PluginError> {
        if bytes > self.max_size {
            return Err(PluginError::TooLarge {
                size: Some(bytes),
                limit: self.max_size,
            });
        }
        Ok(())
    }

    /// Instruments and compiles a component, or reads it from the cache.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] with what does not fit the contract.
    pub(crate) fn load(
        &self,
        bytes: &[u8],
        path: &Path,
        profile: HeapProfile,
    ) -> Result<CompiledComponent, PluginError> {
        let started = Instant::now();
        let digest = hex(&Sha256::digest(bytes));
        let declarations = Declarations::beside(path)?;
        let key = format!("{digest}-{}{}", profile.name(), declarations.key());
        let entry = self.cache.get(&self.engine, &key);
        let entry = entry.and_then(|(component, side)| {
            Some((component, InstrumentedMeta::from_bytes(&side).ok()?))
        });
        let cached = entry.is_some();
        let mut mapped_from_cache = cached;
        let (component, meta) = match entry {
            Some((component, meta)) => (component, Arc::new(meta)),
            None => {
                let (component, meta) = self.compile(bytes, profile, &declarations.options)?;
                self.cache.put(&key, &component, &meta.to_bytes());
                // Code that was just compiled is resident as a whole. Of code that is mapped from
                // the file, only what runs becomes resident.
                match self.cache.get(&self.engine, &key) {
                    Some((mapped, _)) => {
                        mapped_from_cache = true;
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
                    with_causes(&e)
                ))
            })?;
        let source = ComponentSource {
            path: path.to_owned(),
            in_memory: None,
            digest,
            declarations: declarations.key(),
            size: bytes.len() as u64,
            compile_time,
            cached,
            imports,
            code_bytes,
        };
        Ok(CompiledComponent {
            pre,
            source,
            meta,
            profile,
            mapped_from_cache,
        })
    }

    /// The same component with another profile.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unreadable`] when neither its file nor the cache has it any more.
    pub(crate) fn reload(
        &self,
        source: &ComponentSource,
        profile: HeapProfile,
    ) -> Result<CompiledComponent, PluginError> {
        let mut component = self.load(&self.original(source)?, &source.path, profile)?;
        component.source.in_memory = source.in_memory.clone();
        Ok(component)
    }

    /// The component before instrumentation. Its symbols refer to these bytes.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unreadable`] when neither its file nor the cache has them any more.
    pub fn original(&self, source: &ComponentSource) -> Result<Vec<u8>, PluginError> {
        if let Some(bytes) = &source.in_memory {
            return Ok(bytes.to_vec());
        }
        let same = |bytes: &Vec<u8>| hex(&Sha256::digest(bytes)) == source.digest;
        let unreadable = |error| PluginError::Unreadable {
            path: source.path.clone(),
            source: error,
        };
        match std::fs::read(&source.path) {
            Ok(bytes) if same(&bytes) => Ok(bytes),
            read => self
                .cache
                .original(&source.digest)
                .filter(same)
                .ok_or_else(|| {
                    unreadable(read.err().unwrap_or_else(|| {
                        std::io::Error::other("the file has another component now")
                    }))
                }),
        }
    }

    fn compile(
        &self,
        bytes: &[u8],
        profile: HeapProfile,
        options: &Options,
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
                    "this is no component, or it cannot be compiled: {}",
                    with_causes(&e)
                ))
            })
        };
        if profile == HeapProfile::Off {
            let meta = InstrumentedMeta::off("switched off: heap_profile is off");
            return Ok((compiled(bytes)?, Arc::new(meta)));
        }
        let instrumented = guest_heap::instrument(bytes, options).map_err(|e| {
            PluginError::Refused(match e {
                InstrumentError::NotAComponent(_) | InstrumentError::Invalid(_) => {
                    format!("this is no component: {e}")
                }
                _ => e.to_string(),
            })
        })?;
        Ok((compiled(&instrumented.component)?, instrumented.meta))
    }
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
