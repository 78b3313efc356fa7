//! Entries that are kept, used, damaged and pushed out, in a real folder.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// A cache in a folder, and the machine code of an empty component.
struct Fixture {
    folder: tempfile::TempDir,
    engine: Engine,
    code: io::Cursor<Vec<u8>>,
}

impl Fixture {
    fn new() -> Self {
        let engine = crate::engine::start().unwrap();
        let code = engine.precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        Fixture {
            folder: tempfile::tempdir().unwrap(),
            engine,
            code: io::Cursor::new(code),
        }
    }

    fn open(&self, limits: CacheLimits) -> Cache {
        Cache::open(Some(self.folder.path().into()), limits, &self.engine)
    }

    fn put(&self, cache: &Cache, key: &str) -> Option<UsedFile> {
        cache.put(key, &mut self.code.clone(), b"side data")
    }

    fn get(&self, cache: &Cache, key: &str) -> Option<CacheEntry> {
        cache.get(&self.engine, key)
    }

    /// The number of files, and their bytes.
    fn files(&self) -> (usize, u64) {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let sizes = entries.map(|entry| entry.unwrap().metadata().unwrap().len());
        sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }
}

fn key(n: u32) -> String {
    format!("{n:064x}-full")
}

#[test]
fn a_damaged_entry_is_removed_and_can_be_written_again() {
    let fixture = Fixture::new();
    let cache = fixture.open(CacheLimits::default());
    assert!(fixture.get(&cache, &key(1)).is_none());
    drop(fixture.put(&cache, &key(1)));
    let path = cache.entry_path(cache.folder.as_deref().unwrap(), &key(1));
    let whole = fs::read(&path).unwrap();
    let mut damages = vec![
        Vec::new(),
        vec![0; whole.len()],
        [&whole[..], b"x"].concat(),
    ];
    damages.extend([1, 20, 40, whole.len() / 2, whole.len() - 1].map(|n| whole[..n].to_vec()));
    damages.extend([0, 9, 30, 44, whole.len() / 2].map(|at| {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        flipped
    }));
    for damaged in damages {
        fs::write(&path, &damaged).unwrap();
        assert!(fixture.get(&cache, &key(1)).is_none());
        assert!(!path.exists(), "it is removed");
        drop(fixture.put(&cache, &key(1)));
        let entry = fixture.get(&cache, &key(1)).unwrap();
        assert_eq!(entry.side, b"side data");
    }
}

#[test]
fn entries_that_change_places_are_damaged() {
    let fixture = Fixture::new();
    let cache = fixture.open(CacheLimits::default());
    let path = |n| cache.entry_path(cache.folder.as_deref().unwrap(), &key(n));
    for n in [1, 2] {
        drop(fixture.put(&cache, &key(n)));
    }
    let aside = fixture.folder.path().join("aside");
    fs::rename(path(1), &aside).unwrap();
    fs::rename(path(2), path(1)).unwrap();
    fs::rename(&aside, path(2)).unwrap();
    assert!(
        [1, 2]
            .iter()
            .all(|n| fixture.get(&cache, &key(*n)).is_none())
    );
}

#[test]
fn special_files_in_the_place_of_entries_neither_block_nor_are_used() {
    let fixture = Fixture::new();
    let cache = fixture.open(CacheLimits::default());
    let path = |n| cache.entry_path(cache.folder.as_deref().unwrap(), &key(n));
    mknodat(CWD, path(1), FileType::Fifo, Mode::RUSR, 0).unwrap();
    symlink("/proc/kmsg", path(2)).unwrap();
    symlink("/dev/zero", path(3)).unwrap();
    symlink("missing", path(4)).unwrap();
    let sparse = fs::File::create(path(5)).unwrap();
    sparse.set_len(1 << 40).unwrap();
    fs::create_dir(path(6)).unwrap();
    let cache = fixture.open(CacheLimits::default());
    for n in 1..=6 {
        assert!(fixture.get(&cache, &key(n)).is_none(), "{n}");
        drop(fixture.put(&cache, &key(n)));
        // A folder cannot be replaced by a file.
        assert_eq!(fixture.get(&cache, &key(n)).is_some(), n != 6, "{n}");
    }
}

#[test]
fn a_special_file_in_the_place_of_an_original_is_replaced() {
    let fixture = Fixture::new();
    let cache = fixture.open(CacheLimits::default());
    let digest = format!("{:064x}", 7);
    let path = cache.folder.as_deref().unwrap().original_path(&digest);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let original = |is_same| cache.original(&digest, 4, |_| is_same);
    assert_eq!(original(true), None);
    drop(cache.put_original(&digest, b"wasm"));
    assert_eq!(original(true).unwrap(), b"wasm");
    // One with another checksum is removed.
    assert_eq!(original(false), None);
    assert!(!path.exists());
    // One with another length is written again.
    fs::write(&path, "long").unwrap();
    drop(cache.put_original(&digest, b"short"));
    assert_eq!(cache.original(&digest, 5, |_| true).unwrap(), b"short");
}

#[test]
fn an_entry_is_never_torn_while_many_threads_write_it() {
    let fixture = Fixture::new();
    let cache = fixture.open(CacheLimits::default());
    drop(fixture.put(&cache, &key(1)));
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..50 {
                    drop(fixture.put(&cache, &key(1)));
                    assert!(fixture.get(&cache, &key(1)).is_some());
                }
            });
        }
    });
    assert_eq!(fixture.files().0, 1);
}

#[test]
fn the_folder_is_bounded_at_every_time_and_used_entries_stay() {
    let fixture = Fixture::new();
    let entry_bytes = entry::size(fixture.code.get_ref().len() as u64, 9);
    let limits = CacheLimits {
        bytes: 5 * entry_bytes,
        files: 4,
    };
    let cache = fixture.open(limits);
    let used = [1, 2].map(|n| {
        drop(fixture.put(&cache, &key(n)));
        fixture.get(&cache, &key(n)).unwrap()
    });
    for n in 10..30 {
        drop(fixture.put(&cache, &key(n)));
        assert!(fixture.get(&cache, &key(n)).is_some(), "{n}");
        let (count, bytes) = fixture.files();
        assert!(
            count <= 4 && bytes <= limits.bytes,
            "{count} files of {bytes}"
        );
    }
    assert!(
        [1, 2]
            .iter()
            .all(|n| fixture.get(&cache, &key(*n)).is_some())
    );
    // With all of it in use, a new entry is not kept, and nothing else happens.
    let more = [28, 29].map(|n| fixture.get(&cache, &key(n)).unwrap());
    drop(fixture.put(&cache, &key(50)));
    assert!(fixture.get(&cache, &key(50)).is_none());
    drop((used, more));
    drop(fixture.put(&cache, &key(50)));
    assert!(fixture.get(&cache, &key(50)).is_some());
    // A smaller limit counts from the next start.
    let cache = fixture.open(CacheLimits { files: 1, ..limits });
    assert!(fixture.get(&cache, &key(50)).is_some(), "the newest one");
    assert_eq!(fixture.files().0, 1);
}

#[test]
fn a_start_removes_what_killed_hosts_left_half() {
    let fixture = Fixture::new();
    let half = [
        format!(".{}-0000000000000001.cwasm.part-0123456789abcdef", key(1)),
        ".code.part-0123456789abcdef".to_owned(),
    ];
    for name in &half {
        fs::write(fixture.folder.path().join(name), "half").unwrap();
    }
    fs::write(
        fixture.folder.path().join(".notes.part-0123456789abcdef"),
        "",
    )
    .unwrap();
    fixture.open(CacheLimits::default());
    assert_eq!(fixture.files(), (1, 0), "the file of somebody else");
}
