//! Mutated and generated components. Each is refused or gives a valid component, none takes long,
//! and an instrumented program behaves like the original.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, Coverage, InstrumentedMeta, Options, instrument};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use wasm_encoder::reencode::Reencode;
use wasmparser::{Validator, WasmFeatures};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::fixtures;
use crate::guest::{Guest, config};
use crate::wat_guest::lifted;

/// Time that one component may take. The bound is generous, because the machine may be busy.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Reads the symbols of a component and instruments it. Returns the instrumented component, or
/// `None` if it is not attributed. `name` is for failures.
pub(crate) fn check_instruments(bytes: &[u8], name: &str) -> Option<Vec<u8>> {
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // A host resolves symbols later, from the same bytes.
        let _unreadable = Symbols::new(bytes, SymbolOptions::default()).map(|symbols| {
            for offset in
                (0..u32::try_from(bytes.len()).unwrap_or(u32::MAX)).step_by(bytes.len() / 16 + 1)
            {
                let _unknown = symbols.resolve(offset);
            }
        });
        instrument(bytes, &Options::default())
    }));
    assert!(
        started.elapsed() < TIME_LIMIT,
        "{name} took {:?}",
        started.elapsed()
    );
    let instrumented = outcome.unwrap_or_else(|_| panic!("{name} makes the instrumenter panic"));
    let instrumented = instrumented.ok()?;
    let valid = Validator::new_with_features(WasmFeatures::all())
        .validate_all(&instrumented.component)
        .map(|_| ());
    assert!(
        valid.is_ok(),
        "{name} gives an invalid component: {valid:?}"
    );
    match instrumented.attribution() {
        Attribution::Off { why } => assert!(!why.is_empty(), "{name}"),
        _ => return Some(instrumented.component),
    }
    assert_eq!(instrumented.component, bytes, "{name} must stay unchanged");
    None
}

/// Changes some bytes, like a damaged disk, a faulty tool or an attacker.
fn mutate(original: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..random.random_range(1..=3) {
        // Keeps the header: otherwise the header alone would refuse most mutations.
        let at = random.random_range(8..bytes.len().max(9)).min(bytes.len());
        let end = (at + random.random_range(1..=64)).min(bytes.len());
        match random.random_range(0..7) {
            0 => bytes.truncate(at.max(8)),
            1 => {
                bytes.drain(at..end);
            }
            2 => {
                let copy = bytes[at..end].to_vec();
                let to = random.random_range(8..=bytes.len().max(8)).min(bytes.len());
                bytes.splice(to..to, copy);
            }
            3 => {
                let mut noise = vec![0; end - at];
                random.fill_bytes(&mut noise);
                bytes.splice(at..end, noise);
            }
            // The largest 32-bit number in LEB128, which may become a length, a count or an index.
            4 => {
                bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f]);
            }
            5 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            _ if at < bytes.len() => bytes[at] = random.random(),
            _ => {}
        }
    }
    bytes
}

#[test]
fn a_mutated_component_is_refused_or_gives_a_valid_component() {
    let small = [
        crate::wat_guest::single(
            r#"(func $run (export "run") (param i32) (result i32)
                (call $free (call $malloc (local.get 0))) (call $malloc (i32.const 8)))"#,
        ),
        crate::wat_guest::single(
            r#"(type $f (func (param i32) (result i32)))
            (table 4 funcref) (elem (i32.const 0) $leaf $malloc)
            (func $leaf (param i32) (result i32) (local.get 0))
            (func $run (export "run") (param i32) (result i32) (local $n i32)
                (loop $again (drop (call_indirect (type $f) (local.get $n) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (local.get 0))))
                (return_call $leaf (local.get $n)))"#,
        ),
    ];
    let mut random = SmallRng::seed_from_u64(20_261_122);
    let mut instrumented = 0;
    for round in 0..10_000 {
        let bytes = mutate(&small[round % small.len()], &mut random);
        instrumented +=
            usize::from(check_instruments(&bytes, &format!("mutation {round}")).is_some());
    }
    // If fewer mutations were valid, the test would only try the first checks.
    assert!(
        instrumented > 200,
        "only {instrumented} of 10000 were instrumented"
    );

    // A real component has everything that compilers write: line tables, names, producers.
    let real = fixtures::rust("free_lists");
    for round in 0..100 {
        check_instruments(
            &mutate(&real, &mut random),
            &format!("mutation {round} of a real component"),
        );
    }
}

/// A module with random code whose exports have the names of an allocator. Every call terminates.
fn generate(seed: u64) -> Option<Vec<u8>> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut bytes = vec![0; 4096];
    random.fill_bytes(&mut bytes);
    let exports = r#"(module
        (memory (export "memory") 1 4)
        (func (export "malloc") (param i32) (result i32) unreachable)
        (func (export "free") (param i32))
        (func (export "realloc") (param i32 i32) (result i32) unreachable)
        (func (export "calloc") (param i32 i32) (result i32) unreachable)
        (func (export "run") (param i32) (result i32) unreachable))"#;
    let config = wasm_smith::Config {
        exports: Some(wat::parse_str(exports).unwrap()),
        max_imports: 0,
        max_memories: 1,
        max_memory32_bytes: 4 << 16,
        memory64_enabled: false,
        canonicalize_nans: true,
        exceptions_enabled: false,
        gc_enabled: false,
        threads_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        relaxed_simd_enabled: false,
        max_table_elements: 1000,
        allow_start_export: false,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(10_000).ok()?;
    let grows_every = random.random_range(1..=8);
    Some(with_names(with_growth(&module.to_bytes(), grows_every)))
}

/// Adds the growth of memory by one page to the start of every `every`th function. The random code
/// alone hardly ever grows a memory. After three growths the memory is full.
fn with_growth(module: &[u8], every: usize) -> Vec<u8> {
    struct Growing {
        every: usize,
        functions: usize,
    }
    impl Reencode for Growing {
        type Error = std::convert::Infallible;

        fn parse_function_body(
            &mut self,
            code: &mut wasm_encoder::CodeSection,
            body: wasmparser::FunctionBody<'_>,
        ) -> Result<(), wasm_encoder::reencode::Error> {
            let mut function = self.new_function_with_parsed_locals(&body)?;
            self.functions += 1;
            if self.functions.is_multiple_of(self.every) {
                function.instructions().i32_const(1).memory_grow(0).drop();
            }
            let mut operators = body.get_operators_reader()?;
            while !operators.eof() {
                function.instruction(&self.parse_instruction(&mut operators)?);
            }
            code.function(&function);
            Ok(())
        }
    }
    let mut encoded = wasm_encoder::Module::new();
    let mut growing = Growing {
        every,
        functions: 0,
    };
    let parser = wasmparser::Parser::new(0);
    growing
        .parse_core_module(&mut encoded, parser, module)
        .unwrap();
    encoded.finish()
}

/// Adds a name section with a name for each exported function.
pub(crate) fn with_names(mut module: Vec<u8>) -> Vec<u8> {
    let mut functions = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(&module) {
        if let wasmparser::Payload::ExportSection(exports) = payload.unwrap() {
            for export in exports {
                let export = export.unwrap();
                if matches!(
                    export.kind,
                    wasmparser::ExternalKind::Func | wasmparser::ExternalKind::FuncExact
                ) {
                    functions.push((export.index, export.name.to_owned()));
                }
            }
        }
    }
    functions.sort_unstable();
    functions.dedup_by_key(|(index, _)| *index);
    let mut map = wasm_encoder::NameMap::new();
    for (index, name) in &functions {
        map.append(*index, name);
    }
    let mut names = wasm_encoder::NameSection::new();
    names.functions(&map);
    wasm_encoder::Section::append_to(&names, &mut module);
    module
}

/// What a program does.
#[derive(Default)]
struct Behaviour {
    /// Its results up to the first trap, or the trap at its start.
    results: Vec<String>,
    /// What the profiler has seen of its memory.
    coverage: Coverage,
}

/// The results of a program up to the first trap, or the trap at its start.
pub(crate) fn behaviour(engine: &Engine, bytes: &[u8], meta: Arc<InstrumentedMeta>) -> Vec<String> {
    observe(engine, bytes, meta).results
}

fn observe(engine: &Engine, bytes: &[u8], meta: Arc<InstrumentedMeta>) -> Behaviour {
    let component = match Component::new(engine, bytes) {
        Ok(component) => component,
        Err(error) => panic!("a valid component does not compile: {error:#}"),
    };
    let mut guest = match Guest::instantiate(engine, &component, meta) {
        Ok(guest) => guest,
        Err(error) => {
            return Behaviour {
                results: vec![trap(&error)],
                ..Behaviour::default()
            };
        }
    };
    let mut results = Vec::new();
    for argument in [0, 1, 7, u32::MAX] {
        match guest.call::<_, (u32,)>("run", (argument,)) {
            Ok((result,)) => results.push(result.to_string()),
            Err(error) => {
                results.push(trap(&error));
                break;
            }
        }
    }
    Behaviour {
        results,
        coverage: guest.reading().coverage,
    }
}

fn trap(error: &wasmtime::Error) -> String {
    error
        .downcast_ref::<wasmtime::Trap>()
        .map_or_else(|| "another error".to_owned(), |trap| format!("{trap:?}"))
}

#[test]
fn an_instrumented_program_behaves_like_the_original() {
    let engine = Engine::new(&config()).unwrap();
    let (mut generated, mut instrumented, mut finished) = (0, 0, 0);
    let (mut grew_seen, mut grew_unseen) = (0, 0);
    for seed in 0..2_000 {
        let Some(module) = generate(seed) else {
            continue;
        };
        generated += 1;
        let original = lifted(&module);
        if check_instruments(&original, &format!("program {seed}")).is_none() {
            continue;
        }
        instrumented += 1;
        // Compilation takes most of the time, so only every fourth program runs.
        if instrumented % 4 != 0 {
            continue;
        }
        let ours = instrument(&original, &Options::default()).unwrap();
        let off = Arc::new(InstrumentedMeta::off("for comparison"));
        let expected = behaviour(&engine, &original, off);
        let Behaviour {
            results: actual,
            coverage,
        } = observe(&engine, &ours.component, ours.meta);
        assert_eq!(coverage.other_bytes(), 0, "program {seed}: {coverage:?}");
        grew_seen += usize::from(coverage.heap_seen_bytes > 0);
        grew_unseen += usize::from(coverage.heap_unseen_bytes > 0);
        // An instrumented function has a larger frame, so fewer frames exhaust the stack.
        if !expected
            .iter()
            .chain(&actual)
            .any(|result| result == "StackOverflow")
        {
            assert_eq!(actual, expected, "program {seed}");
            finished += usize::from(expected.len() == 4);
        }
    }
    assert!(
        generated > 1_500
            && instrumented > 500
            && finished > 50
            && grew_unseen > 50
            && grew_seen > 5,
        "{generated} programs, {instrumented} instrumented, {finished} finished, {grew_unseen} and \
         {grew_seen} grew memory without and within an entry point"
    );
}
