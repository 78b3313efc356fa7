//! Tests with memories that look like CPython's, and with memories that do not.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::cpython::Offsets;
use super::{Detection, Fault, GuestMemory, Interpreter, Running, Windows};
use crate::interpreter::memory::WINDOW_BYTES;
use crate::source_stack::SourceFrame;

/// A flat memory, and how often it was read.
struct Flat(Vec<u8>);

impl GuestMemory for Flat {
    fn bytes_from(&self, address: u32) -> Result<&[u8], Fault> {
        self.0
            .get(address as usize..)
            .filter(|bytes| !bytes.is_empty())
            .ok_or(Fault::Unreadable)
    }

    fn contains(&self, address: u32, bytes: u32) -> bool {
        u64::from(address) + u64::from(bytes) <= self.0.len() as u64
    }
}

impl Flat {
    fn set(&mut self, address: u32, word: u32) {
        self.0[address as usize..][..4].copy_from_slice(&word.to_le_bytes());
    }

    fn set_bytes(&mut self, address: u32, bytes: &[u8]) {
        self.0[address as usize..][..bytes.len()].copy_from_slice(bytes);
    }
}

/// The words of CPython's table of offsets. Each offset has its position as its number, so that a
/// test notices when two are exchanged.
fn table(version: u32, free_threaded: u64) -> Vec<u8> {
    let mut words: Vec<u64> = (0..90).map(|at| at * 8).collect();
    words[0] = u64::from_le_bytes(*b"xdebugpy");
    words[1] = u64::from(version);
    words[2] = free_threaded;
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

const RUNTIME: u32 = 4096;

fn interpreter(version: u32, depth: u32) -> Interpreter {
    let (version, offsets) = Offsets::read(&table(version, 0)).unwrap();
    Interpreter {
        version,
        runtime: RUNTIME,
        snapshot_end: 60_000,
        depth,
        offsets,
    }
}

/// Writes a program with these frames, innermost first: the code's number, and the instruction.
fn program(interpreter: &Interpreter, frames: &[(u32, u32)]) -> Flat {
    let offsets = interpreter.offsets;
    let mut memory = Flat(vec![0; 2 << 20]);
    let (state, thread, first) = (100_000, 110_000, 120_000);
    memory.set(RUNTIME + offsets.interpreters, state);
    memory.set(state + offsets.threads, thread);
    let address = |number: usize| first + number as u32 * 1000;
    let code_at = |code: u32| 600_000 + code * 10_000;
    if !frames.is_empty() {
        memory.set(thread + offsets.current_frame, address(0));
    }
    for (number, (code, instruction)) in frames.iter().enumerate() {
        let frame = address(number);
        if number + 1 < frames.len() {
            memory.set(frame + offsets.previous, address(number + 1));
        }
        let code = code_at(*code);
        // A tag, as CPython 3.14 has it.
        memory.set(frame + offsets.executable, code | 1);
        memory.set(
            frame + offsets.instruction,
            code + offsets.instructions + 2 * instruction,
        );
        let number = (code - 600_000) / 10_000;
        memory.set(code + offsets.first_line, 10 * number + 1);
        let texts = [
            (offsets.file_name, format!("/0/file{number}.py")),
            (offsets.qualified_name, format!("f{number}é")),
        ];
        for (position, (field, text)) in texts.into_iter().enumerate() {
            let object = code + 2000 + 2000 * position as u32;
            memory.set(code + field, object);
            let ascii = text.is_ascii();
            memory.set(
                object + offsets.text_state,
                1 << 2 | 1 << 5 | u32::from(ascii) << 6,
            );
            memory.set(object + offsets.text_length, text.chars().count() as u32);
            let start = object + offsets.text_header + if ascii { 0 } else { 8 };
            let latin: Vec<u8> = text.chars().map(|c| c as u32 as u8).collect();
            memory.set_bytes(start, &latin);
        }
        // One unit without a line, three on the first line, two on the next line, eight on the
        // line five lines above it.
        let table = [
            0x80 | 15 << 3,
            0x80 | 10 << 3 | 2,
            0,
            0,
            0x80 | 11 << 3 | 1,
            0,
            0,
        ]
        .into_iter()
        .chain([0x80 | 13 << 3 | 7, 5 << 1 | 1]);
        let table: Vec<u8> = table.collect();
        let object = code + 6000;
        memory.set(code + offsets.line_table, object);
        memory.set(object + offsets.bytes_size, table.len() as u32);
        memory.set_bytes(object + offsets.bytes_start, &table);
    }
    memory
}

fn lines(interpreter: &Interpreter, memory: &impl GuestMemory) -> Vec<String> {
    let running = interpreter.running(memory).unwrap();
    let frames = running.frames.iter();
    let text = |frame: SourceFrame| format!("{}:{} {}", frame.file, frame.line, frame.function);
    frames
        .map(|frame| text(interpreter.frame(memory, *frame).unwrap()))
        .collect()
}

#[test]
fn frames_have_the_lines_of_their_instructions() {
    for version in [0x030D_01F0, 0x030E_00F0] {
        let interpreter = interpreter(version, 8);
        let memory = program(&interpreter, &[(3, 0), (2, 1), (2, 4), (1, 6), (1, 500)]);
        assert_eq!(
            lines(&interpreter, &memory),
            [
                "/0/file3.py:31 f3é",
                "/0/file2.py:21 f2é",
                "/0/file2.py:22 f2é",
                // Line 11, and 1 + 1 - 5 is no line.
                "/0/file1.py:7 f1é",
                "/0/file1.py:11 f1é",
            ]
        );
    }
}

#[test]
fn a_key_has_as_many_frames_as_the_options_say() {
    let frames: Vec<(u32, u32)> = (0..9).map(|number| (number % 3, number)).collect();
    let interpreter = interpreter(0x030E_00F0, 4);
    let Running { frames, is_cut } = interpreter
        .running(&program(&interpreter, &frames))
        .unwrap();
    assert_eq!((frames.len(), is_cut), (4, true));
    let other = interpreter
        .running(&program(&interpreter, &[(0, 0), (1, 1)]))
        .unwrap();
    assert!(!other.is_cut);
    assert_ne!(Interpreter::key(&frames), Interpreter::key(&other.frames));
}

#[test]
fn without_frames_nothing_runs() {
    let interpreter = interpreter(0x030D_00F0, 8);
    let memory = program(&interpreter, &[]);
    assert_eq!(interpreter.running(&memory), Ok(Running::default()));
    assert_eq!(
        interpreter.running(&Flat(vec![0; 1 << 16])),
        Ok(Running::default())
    );
}

#[test]
fn the_interpreters_own_frames_are_skipped() {
    let interpreter = interpreter(0x030E_00F0, 8);
    let mut memory = program(&interpreter, &[(0, 1), (1, 1), (2, 1)]);
    memory.0[(121_000 + interpreter.offsets.owner) as usize] = 3;
    let running = interpreter.running(&memory).unwrap();
    assert_eq!(running.frames.len(), 2);
}

#[test]
fn a_list_of_frames_without_an_end_is_left() {
    let interpreter = interpreter(0x030E_00F0, 64);
    let offsets = interpreter.offsets;
    for owner in [0, 3] {
        let mut memory = program(&interpreter, &[(0, 1)]);
        memory.set(120_000 + offsets.previous, 120_000);
        memory.0[(120_000 + offsets.owner) as usize] = owner;
        let running = interpreter.running(&memory).unwrap();
        let frames = if owner == 0 { 64 } else { 0 };
        assert_eq!((running.frames.len(), running.is_cut), (frames, owner == 0));
    }
}

#[test]
fn huge_texts_and_tables_are_cut_or_refused() {
    let interpreter = interpreter(0x030E_00F0, 8);
    let offsets = interpreter.offsets;
    let mut memory = program(&interpreter, &[(0, 4)]);
    memory.set(602_000 + offsets.text_length, u32::MAX);
    let running = interpreter.running(&memory).unwrap().frames[0];
    let frame = interpreter.frame(&memory, running).unwrap();
    assert_eq!(frame.file.chars().count(), 512);
    memory.set(606_000 + offsets.bytes_size, u32::MAX);
    assert_eq!(interpreter.frame(&memory, running).unwrap().line, 2);
    // No such kind of text.
    memory.set(602_000 + offsets.text_state, 3 << 2 | 1 << 5);
    assert_eq!(interpreter.frame(&memory, running), Err(Fault::Unreadable));
}

/// The host reads the same windows by window as in the whole memory, and only a few of them.
#[test]
fn windows_give_the_same_frames_as_the_memory() {
    let interpreter = interpreter(0x030E_00F0, 8);
    let memory = program(&interpreter, &[(3, 0), (2, 1), (1, 500)]);
    let (windows, read) = through_windows(&interpreter, &memory);
    assert_eq!(lines(&interpreter, &windows), lines(&interpreter, &memory));
    assert!(read < 30, "{read} windows");
}

/// Reads the frames through windows until no further one is missing, as the recorder does.
fn through_windows(interpreter: &Interpreter, memory: &Flat) -> (Windows, usize) {
    let mut windows = Windows::default();
    let mut read = 0;
    loop {
        let attempt = interpreter.running(&windows).and_then(|running| {
            let frames = running.frames.into_iter();
            frames
                .map(|frame| interpreter.frame(&windows, frame))
                .collect::<Result<Vec<_>, _>>()
        });
        let Err(Fault::Missing(address)) = attempt else {
            return (windows, read);
        };
        read += 1;
        let start = (address as usize).min(memory.0.len());
        let end = (start + WINDOW_BYTES as usize).min(memory.0.len());
        windows.add(address, &memory.0[start..end]);
        assert!(read <= 1024, "the number of windows is bounded");
    }
}

/// A guest can write anything. Whatever it writes, the host reads a bounded number of windows,
/// gives bounded texts, and finds the same frames in the windows as in the memory.
#[test]
fn damaged_memory_does_no_harm() {
    let mut random = StdRng::seed_from_u64(3);
    for round in 0..3000 {
        let depth = [1, 8, 64][round % 3];
        let interpreter = interpreter([0x030D_00F0, 0x030E_00F0][round % 2], depth);
        let frames: Vec<(u32, u32)> = (0..random.random_range(1..70))
            .map(|_| (random.random_range(0..30), random.random_range(0..20)))
            .collect();
        let mut memory = program(&interpreter, &frames);
        for _ in 0..random.random_range(1..40) {
            let structures = [
                (100_000, 100),
                (110_000, 800),
                (120_000, 70_000),
                (600_000, 300_000),
            ];
            let (start, length) = structures[random.random_range(0..4)];
            let at = start + random.random_range(0..length);
            let word = match random.random_range(0..6) {
                0 => 0,
                1 => u32::MAX - random.random_range(0..16),
                2 => 120_000 + 1000 * random.random_range(0..70),
                3 => memory.0.len() as u32 - random.random_range(0..64),
                4 => random.random(),
                _ => 600_000 + random.random_range(0..300_000),
            };
            memory.set(at, word);
        }
        // The fields that matter are few, so most damage hits one of them on purpose.
        for _ in 0..random.random_range(0..4) {
            let offsets = interpreter.offsets.to_numbers();
            let offset = offsets[random.random_range(1..offsets.len())];
            let base = 120_000 + 1000 * random.random_range(0..3);
            let base = if random.random() {
                base
            } else {
                600_000 + 10_000 * random.random_range(0..30)
            };
            memory.set(base + offset, random.random());
        }
        memory
            .0
            .truncate(memory.0.len() - random.random_range(0..8) * 1000);
        let (windows, _) = through_windows(&interpreter, &memory);
        let running = interpreter.running(&memory);
        assert_eq!(
            interpreter.running(&windows).unwrap_or_default(),
            running.clone().unwrap_or_default()
        );
        for frame in running.unwrap_or_default().frames {
            let found = interpreter.frame(&memory, frame);
            if let Ok(frame) = &found {
                assert!(frame.file.len() <= 4 * 512 && frame.function.len() <= 4 * 512);
            }
            assert!(!matches!(found, Err(Fault::Missing(_))));
        }
    }
}

#[test]
fn unknown_versions_and_builds_are_named() {
    let why = |version, free_threaded| Offsets::read(&table(version, free_threaded)).unwrap_err();
    assert_eq!(
        why(0x0310_02F0, 0),
        "is CPython 3.16.2, whose frames this profiler does not know"
    );
    assert_eq!(
        why(0x030E_00F0, 1),
        "is a free-threaded build of CPython 3.14.0, which keeps copies of its code for each thread"
    );
    assert_eq!(
        Offsets::read(b"xdebugpy").unwrap_err(),
        "has a damaged table of offsets"
    );
    let mut damaged = table(0x030E_00F0, 0);
    damaged[34 * 8..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(
        Offsets::read(&damaged).unwrap_err(),
        "has a damaged table of offsets"
    );
}

/// A module with data at this address. Without one, the address is not a constant.
fn module(address: Option<u32>, data: &[u8]) -> Vec<u8> {
    let escaped: String = data.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let offset = match address {
        Some(address) => format!("(i32.const {address})"),
        None => "(global.get 0)".to_owned(),
    };
    wat::parse_str(format!(
        r#"(module (import "env" "base" (global i32)) (memory 4)
            (data (i32.const 16) "other") (data {offset} "{escaped}"))"#
    ))
    .unwrap()
}

#[test]
fn the_interpreter_is_found_by_its_data() {
    let find = |bytes: &[u8]| Interpreter::find([bytes].into_iter());
    let data = [&b"xdebxdebugpx before"[..], &table(0x030E_00F0, 0)].concat();
    let Detection::Found(found) = find(&module(Some(4077), &data)) else {
        panic!("not found");
    };
    let expected = Interpreter {
        snapshot_end: 4077 + data.len() as u32,
        ..interpreter(0x030E_00F0, 8)
    };
    assert_eq!(
        (found.name(), found),
        ("CPython 3.14.0".to_owned(), expected)
    );
    assert_eq!(find(&module(Some(0), b"nothing")), Detection::Nothing);
    let Detection::Unusable(why) = find(&module(None, &table(0x030E_00F0, 0))) else {
        panic!("its address is not known");
    };
    assert!(why.contains("whose address is not constant"), "{why}");
}

#[test]
fn the_encoded_form_gives_it_back() {
    let interpreter = interpreter(0x030E_00F0, 64);
    let mut bytes = Vec::new();
    interpreter.encode(&mut bytes);
    let mut reader = wasmparser::BinaryReader::new(&bytes, 0);
    assert_eq!(Interpreter::decode(&mut reader).unwrap(), interpreter);
    assert!(reader.eof());
}
