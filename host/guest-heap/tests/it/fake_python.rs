//! A component with an interpreter that looks like CPython, in text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, Context, InstrumentedMeta, Options, Totals, instrument};

use crate::guest::Guest;
use crate::wat_guest::{component, run};

pub(crate) const PYTHON_3_14: u32 = 0x030E_00F0;

/// Where things are in the memory of [`Program::component`].
pub(crate) const RUNTIME: usize = 8192;
pub(crate) const STATE: usize = 9100;
pub(crate) const THREAD: usize = 9200;
pub(crate) const FRAMES: [usize; 3] = [9400, 9450, 9500];
pub(crate) const CODES: [usize; 3] = [10_000, 11_000, 12_000];

/// The data of a program whose innermost function is `app.inner`, which `app.outer` calls, which
/// the standard library calls.
pub(crate) struct Program {
    pub(crate) version: u32,
    pub(crate) free_threaded: u64,
    /// The innermost file.
    pub(crate) file: &'static str,
    /// Functions of the interpreter's module.
    pub(crate) python: &'static str,
    /// Further items of the component. They have an instance `$python2` with the export `eval`.
    pub(crate) more: &'static str,
    /// The offset of the data.
    pub(crate) offset: &'static str,
}

/// The function that the profiler hooks.
pub(crate) const NEW_REFERENCE: &str = r#"(func $new (export "_Py_NewReference") (param i32)
    (i32.store (local.get 0) (i32.const 1)))"#;

impl Default for Program {
    fn default() -> Self {
        Self {
            version: PYTHON_3_14,
            free_threaded: 0,
            file: "/0/app.py",
            python: NEW_REFERENCE,
            more: "",
            offset: "i32.const 8192",
        }
    }
}

impl Program {
    pub(crate) fn data(&self) -> Vec<u8> {
        let mut data = vec![0; 6000];
        let mut set = |address: usize, bytes: &[u8]| {
            data[address - RUNTIME..][..bytes.len()].copy_from_slice(bytes);
        };
        // The words of the table of offsets by their positions in CPython 3.14.
        let words: [(usize, u64); 23] = [
            (0, u64::from_le_bytes(*b"xdebugpy")),
            (1, u64::from(self.version)),
            (2, self.free_threaded),
            (5, 800),
            (9, 16),
            (26, 8),
            (32, 4),
            (33, 0),
            (34, 8),
            (36, 12),
            (40, 0),
            (42, 4),
            (43, 8),
            (44, 12),
            (48, 64),
            (51, 4),
            (53, 12),
            (55, 84),
            (75, 8),
            (76, 16),
            (78, 16),
            (79, 8),
            (80, 20),
        ];
        for (at, word) in words {
            set(RUNTIME + at * 8, &word.to_le_bytes());
        }
        let mut word = |address: usize, value: usize| {
            set(address, &(value as u32).to_le_bytes());
        };
        word(RUNTIME + 800, STATE);
        word(STATE + 16, THREAD);
        for (number, (frame, code)) in FRAMES.into_iter().zip(CODES).enumerate() {
            word(frame, code);
            word(frame + 4, FRAMES.get(number + 1).copied().unwrap_or(0));
            word(frame + 8, code + 64);
            word(code, code + 200);
            word(code + 4, code + 400);
            word(code + 8, code + 600);
            word(code + 12, 10 * (number + 1));
            word(code + 608, 4);
            for (text, length) in [
                (200, self.texts(number).0.len()),
                (400, self.texts(number).1.len()),
            ] {
                word(code + text + 8, length);
                word(code + text + 16, 1 << 2 | 1 << 5 | 1 << 6);
            }
        }
        for (number, code) in CODES.into_iter().enumerate() {
            let (file, function) = self.texts(number);
            set(code + 220, file.as_bytes());
            set(code + 420, function.as_bytes());
            // Two units on the first line, then eight on the next one.
            set(code + 616, &[0x80 | 13 << 3 | 1, 0, 0x80 | 13 << 3 | 7, 2]);
        }
        data
    }

    pub(crate) fn texts(&self, number: usize) -> (&'static str, &'static str) {
        [
            (self.file, "inner"),
            ("/0/app.py", "App.outer"),
            ("/python/runpy.py", "run"),
        ][number]
    }

    /// Modules that are linked dynamically: the memory with the data, the C library, the
    /// interpreter, and the application, which has the lifted export `run`.
    pub(crate) fn component(&self) -> Vec<u8> {
        let mut data = String::new();
        for byte in self.data() {
            let _ = write!(data, "\\{byte:02x}");
        }
        let Self {
            python,
            more,
            offset,
            ..
        } = self;
        component(&format!(
            r#"(core module $env
                (global $base i32 (i32.const 8192))
                (memory (export "memory") 2)
                (data ({offset}) "{data}"))
            (core instance $env (instantiate $env))
            (core module $libc
                (import "env" "memory" (memory 1))
                (global $next (mut i32) (i32.const 20000))
                (func $malloc (export "malloc") (param $size i32) (result i32)
                    (global.get $next)
                    (global.set $next (i32.add (global.get $next)
                        (i32.and (i32.add (local.get $size) (i32.const 23)) (i32.const -16)))))
                (func $free (export "free") (param i32)))
            (core instance $libc (instantiate $libc (with "env" (instance $env))))
            (core module $python
                (import "env" "memory" (memory 1))
                (import "libc" "malloc" (func $malloc (param i32) (result i32)))
                (func $_PyEval_EvalFrameDefault (export "eval") (param $line i32) (param $size i32)
                        (result i32)
                    (i32.store (i32.const {current}) (i32.const {frame}))
                    (i32.store (i32.const {instruction})
                        (i32.add (i32.const {start}) (i32.mul (local.get $line) (i32.const 2))))
                    (call $malloc (local.get $size))
                    (i32.store (i32.const {current}) (i32.const 0)))
                {python})
            (core instance $python (instantiate $python (with "env" (instance $env))
                (with "libc" (instance $libc))))
            {more}
            (core module $app
                (import "env" "memory" (memory 1))
                (import "libc" "malloc" (func $malloc (param i32) (result i32)))
                (import "python" "eval" (func $eval (param i32 i32) (result i32)))
                (func $run (export "run") (param i32) (result i32)
                    (drop (call $malloc (i32.const 7)))
                    (drop (call $eval (i32.const 1) (local.get 0)))
                    (drop (call $eval (i32.const 1) (local.get 0)))
                    (drop (call $eval (i32.const 2) (i32.const 1000)))
                    (i32.const 0)))
            (core instance $app (instantiate $app (with "env" (instance $env))
                (with "libc" (instance $libc)) (with "python" (instance ${evaluator}))))
            (func (export "run") (param "n" u32) (result u32) (canon lift (core func $app "run")))"#,
            current = THREAD + 8,
            frame = FRAMES[0],
            instruction = FRAMES[0] + 8,
            start = CODES[0] + 64,
            evaluator = if more.is_empty() { "python" } else { "python2" },
        ))
    }

    pub(crate) fn start(&self, options: &Options) -> Running {
        let original = self.component();
        let instrumented = instrument(&original, options).unwrap();
        let mut guest = Guest::new(&instrumented.component, instrumented.meta.clone()).unwrap();
        run(&mut guest, 10);
        let symbols = Symbols::new(&original, SymbolOptions::default()).unwrap();
        Running {
            guest,
            meta: instrumented.meta,
            symbols: Arc::new(symbols),
        }
    }
}

pub(crate) struct Running {
    pub(crate) guest: Guest,
    pub(crate) meta: Arc<InstrumentedMeta>,
    pub(crate) symbols: Arc<Symbols>,
}

impl Running {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let store = &self.guest.store;
        let context = |index| Some(store.data().recorder.context(store, index));
        Snapshot::new(&self.guest.reading(), context, Arc::clone(&self.symbols))
    }

    /// Live bytes by line.
    pub(crate) fn lines(&self) -> BTreeMap<String, u64> {
        let groups = self.snapshot().top(GroupBy::Line, 99);
        let line = |group: guest_heap::snapshot::Group| {
            (group.location.to_string(), group.usage.live_bytes)
        };
        groups.into_iter().map(line).collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.guest.totals()
    }

    /// The attribution at the end, and why the program has no lines.
    pub(crate) fn reasons(&self) -> (Attribution, Option<&str>) {
        let attribution = self.guest.reading().attribution(&self.meta);
        (attribution, self.meta.without_lines())
    }

    /// Lengths of the native call stacks that hold memory.
    pub(crate) fn native(&self) -> Vec<usize> {
        let mut lengths = Vec::new();
        for entry in self.snapshot().entries() {
            if let Context::Stack(stack) = &entry.context {
                lengths.push(stack.len());
            }
        }
        lengths.sort_unstable();
        lengths
    }
}
