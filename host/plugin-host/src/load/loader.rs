//! From bytes to a component that is ready to instantiate.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, InstrumentedMeta};

use crate::bindings::{LeakPlugin, LeakPluginPre};
use crate::blocking::run_blocking;
use crate::error::{Fault, PluginError, with_causes};
use crate::instance::{Instance, StoreState};
use crate::load::cache::{Cache, UsedFile};
use crate::load::compiler::{CompiledCode, Compiler, Urgency};
use crate::load::component_source::ComponentSource;
use crate::load::declarations::Declarations;
use crate::load::prepared::Prepared;
use crate::load::symbol_options::symbol_options;
use crate::regular_file;
use crate::settings::HeapProfile;

/// Compiles components, or reads them from the cache. Clones share the engine and the linker.
#[derive(Clone)]
pub struct Loader {
    engine: Engine,
    linker: Arc<Linker<StoreState>>,
    cache: Cache,
    compiler: Arc<Compiler>,
    /// The largest accepted component, in bytes.
    max_size: u64,
    symbol_options: Arc<SymbolOptions>,
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
    /// Its files in the cache, which stay there as long as the component is loaded.
    _used: Vec<UsedFile>,
}

impl CompiledComponent {
    /// Starts an instance with at most `memory_limit` bytes of linear memory. The guest's output is
    /// logged under `log_name`, or dropped without one.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when it traps, takes too long, or needs more memory.
    pub(crate) async fn start_instance(
        &self,
        log_name: Option<&str>,
        memory_limit: u64,
    ) -> Result<Instance, Fault> {
        Instance::start(&self.pre, &self.meta, log_name, memory_limit).await
    }

    /// Releases the resident pages of the code. A component that has only described itself may not
    /// run again for a long time.
    pub(crate) fn release_pages(&self) {
        Cache::release_pages(self.pre.instance_pre().component());
    }
}

impl fmt::Debug for CompiledComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledComponent")
            .field("source", &self.source)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Loader {
    /// A loader whose components may import WASI and the lab's logging, and nothing else. It
    /// refuses components of more than `max_size` bytes.
    ///
    /// # Errors
    ///
    /// When two of those definitions have the same name.
    pub fn new(
        engine: Engine,
        cache: Cache,
        compiler: Compiler,
        max_size: u64,
    ) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        LeakPlugin::add_to_linker::<_, HasSelf<StoreState>>(&mut linker, |state| state)?;
        guest_heap::add_to_linker(&mut linker, StoreState::recorder)?;
        Ok(Loader {
            engine,
            linker: Arc::new(linker),
            cache,
            compiler: Arc::new(compiler),
            max_size,
            symbol_options: Arc::new(symbol_options()),
        })
    }

    /// The same loader with other options for symbols, by default [`symbol_options`].
    pub fn with_symbol_options(self, options: SymbolOptions) -> Self {
        Loader {
            symbol_options: Arc::new(options),
            ..self
        }
    }

    /// Reads the symbols of a component. It blocks.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] if its sections cannot be read.
    pub fn read_symbols(&self, component: &[u8]) -> Result<Symbols, PluginError> {
        Symbols::new(component, (*self.symbol_options).clone())
            .map_err(|e| PluginError::Refused(format!("its symbols cannot be read: {e}")))
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
    /// [`PluginError::Unreadable`], [`PluginError::TooLarge`], and the errors of
    /// [`Loader::load`].
    pub(crate) async fn load_file(
        &self,
        path: &Path,
        profile: HeapProfile,
        urgency: Urgency,
    ) -> Result<CompiledComponent, PluginError> {
        let (loader, file) = (self.clone(), path.to_owned());
        let bytes = run_blocking(move || {
            let unreadable = |source| PluginError::Unreadable {
                path: file.clone(),
                source,
            };
            let (opened, metadata) = regular_file::open(&file).map_err(unreadable)?;
            loader.check_size(metadata.len())?;
            regular_file::read_opened(&opened, metadata.len()).map_err(unreadable)
        })
        .await?;
        self.load(bytes.into(), path, profile, urgency).await
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

    /// Instruments and compiles a component, or reads it from the cache. Dropping the future ends
    /// the compilation.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] with what does not fit the contract, [`PluginError::TooCostly`]
    /// when compiling it exceeds a limit, and [`PluginError::CompilerBusy`] when too many clients
    /// wait.
    pub(crate) async fn load(
        &self,
        bytes: Arc<[u8]>,
        path: &Path,
        profile: HeapProfile,
        urgency: Urgency,
    ) -> Result<CompiledComponent, PluginError> {
        let started = Instant::now();
        let looked_up = {
            let (loader, bytes, path) = (self.clone(), bytes.clone(), path.to_owned());
            run_blocking(move || {
                let declarations = Declarations::next_to(&path)?;
                let (digest, entry) = loader.look_up(&bytes, profile, &declarations);
                Ok((digest, entry, declarations))
            })
        };
        let (digest, entry, declarations) = looked_up.await?;
        let compiled = match entry {
            Some(_) => None,
            None => {
                let bytes = declarations.embed(bytes.clone());
                let compiling = self.compiler.compile(&self.engine, bytes, profile, urgency);
                Some(compiling.await?)
            }
        };
        let (loader, path) = (self.clone(), path.to_owned());
        run_blocking(move || {
            let cached = entry.is_some();
            let mut prepared = match (entry, compiled) {
                (Some(entry), _) => entry,
                (None, Some(code)) => {
                    loader.keep(&cache_key(&digest, profile, &declarations), code)?
                }
                (None, None) => return Err(PluginError::Internal("nothing was compiled".into())),
            };
            let original = loader.cache.put_original(&digest, &bytes);
            prepared.used.extend(original);
            let source = ComponentSource {
                path,
                in_memory: None,
                digest,
                declarations: declarations.key(),
                size: bytes.len() as u64,
                compile_time: started.elapsed(),
                cached,
                imports: Vec::new(),
                code_bytes: 0,
            };
            loader.link(prepared, profile, source)
        })
        .await
    }

    /// The digest of a component, and its entry in the cache if there is one.
    fn look_up(
        &self,
        bytes: &[u8],
        profile: HeapProfile,
        declarations: &Declarations,
    ) -> (String, Option<Prepared>) {
        let digest = hex(&Sha256::digest(bytes));
        let key = cache_key(&digest, profile, declarations);
        let entry = self.cache.get(&self.engine, &key);
        let entry = entry.and_then(|entry| {
            let meta = InstrumentedMeta::from_bytes(&entry.side).ok()?;
            Some(Prepared::of(entry, Arc::new(meta)))
        });
        (digest, entry)
    }

    /// Keeps code that was just compiled in the cache, and maps it: from the cache if it is there.
    fn keep(&self, key: &str, compiled: CompiledCode) -> Result<Prepared, PluginError> {
        let CompiledCode { mut code, side } = compiled;
        let broken = |error: &dyn fmt::Display| {
            PluginError::Internal(format!("cannot use compiled code: {error}"))
        };
        let meta = InstrumentedMeta::from_bytes(&side).map_err(|e| broken(&e))?;
        let file = code.reader().map_err(|e| broken(&e))?;
        let _used = self.cache.put(key, file, &side);
        let meta = Arc::new(meta);
        match self.cache.get(&self.engine, key) {
            Some(entry) => Ok(Prepared::of(entry, meta)),
            None => Ok(Prepared {
                component: code
                    .map(&self.engine)
                    .map_err(|e| broken(&with_causes(&e)))?,
                meta,
                used: Vec::new(),
            }),
        }
    }

    /// Checks the imports and exports of a compiled component.
    fn link(
        &self,
        prepared: Prepared,
        profile: HeapProfile,
        mut source: ComponentSource,
    ) -> Result<CompiledComponent, PluginError> {
        let Prepared {
            component,
            meta,
            used,
        } = prepared;
        let (of_profiler, imports): (Vec<String>, _) = component
            .component_type()
            .imports(&self.engine)
            .map(|(name, _)| name.to_owned())
            .partition(|name| guest_heap::is_profiler_interface(name));
        // An instrumented component imports the interface because the host has instrumented it.
        if let (Attribution::Off { .. }, Some(import)) = (meta.attribution(), of_profiler.first()) {
            return Err(PluginError::Refused(format!(
                "the component imports {import}, which only the heap profiler may import"
            )));
        }
        source.imports = imports;
        let code = component.image_range();
        source.code_bytes = (code.end as u64).saturating_sub(code.start as u64);
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
        Ok(CompiledComponent {
            pre,
            source,
            meta,
            profile,
            _used: used,
        })
    }

    /// The same component with another profile.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unreadable`] when neither its file nor the cache has it any more, and the
    /// errors of [`Loader::load`].
    pub(crate) async fn reload(
        &self,
        source: &Arc<ComponentSource>,
        profile: HeapProfile,
    ) -> Result<CompiledComponent, PluginError> {
        let (loader, of) = (self.clone(), source.clone());
        let bytes = run_blocking(move || loader.original(&of)).await?;
        let mut component = self
            .load(bytes.into(), &source.path, profile, Urgency::Client)
            .await?;
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
        let same = |bytes: &[u8]| hex(&Sha256::digest(bytes)) == source.digest;
        let unreadable = |error| PluginError::Unreadable {
            path: source.path.clone(),
            source: error,
        };
        // A file of another length has another component.
        match regular_file::read(&source.path, source.size) {
            Ok(bytes) if same(&bytes) => Ok(bytes),
            read => self
                .cache
                .original(&source.digest, source.size, same)
                .ok_or_else(|| {
                    unreadable(read.err().unwrap_or_else(|| {
                        std::io::Error::other("the file has another component now")
                    }))
                }),
        }
    }
}

fn cache_key(digest: &str, profile: HeapProfile, declarations: &Declarations) -> String {
    format!("{digest}-{}{}", profile.name(), declarations.key())
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
