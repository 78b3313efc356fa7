//! Reading `/proc/self`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::ProcessReading;

/// Bytes of the buffer for `stat`: 52 numbers and a name of at most 64 bytes.
const STAT_CAPACITY: usize = 2048;
/// Bytes of the buffer for `statm`: seven numbers.
const STATM_CAPACITY: usize = 256;

/// Reads this process's procfs files, which it keeps open.
#[derive(Debug)]
pub struct ProcessReader {
    stat: File,
    statm: File,
    page_bytes: u64,
    ticks_per_second: f64,
    start_time_unix_seconds: f64,
}

impl ProcessReader {
    /// Opens the files and computes the start time of the process, which never changes.
    ///
    /// # Errors
    ///
    /// When procfs is not mounted, or a file does not match proc_pid_stat(5).
    pub fn new() -> io::Result<Self> {
        let stat = File::open("/proc/self/stat")?;
        let statm = File::open("/proc/self/statm")?;
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let boot = parse_boot_time(&fs::read_to_string("/proc/stat")?)?;
        let started = Stat::read(&stat)?.start_ticks as f64 / ticks_per_second;
        Ok(Self {
            stat,
            statm,
            page_bytes: rustix::param::page_size() as u64,
            ticks_per_second,
            start_time_unix_seconds: boot as f64 + started,
        })
    }

    /// Reads everything: three system calls.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or is malformed.
    pub fn read(&self) -> io::Result<ProcessReading> {
        let stat = Stat::read(&self.stat)?;
        let statm = self.statm()?;
        Ok(ProcessReading {
            pid: stat.pid,
            resident_bytes: statm.resident * self.page_bytes,
            virtual_bytes: statm.size * self.page_bytes,
            resident_file_bytes: statm.shared * self.page_bytes,
            cpu_seconds_total: stat.cpu_ticks as f64 / self.ticks_per_second,
            open_fds: open_fds()?,
            threads: stat.threads,
            start_time_unix_seconds: self.start_time_unix_seconds,
        })
    }

    /// Reads only the resident bytes: one system call.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is malformed.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        Ok(self.statm()?.resident * self.page_bytes)
    }

    fn statm(&self) -> io::Result<Statm> {
        let mut buffer = [0; STATM_CAPACITY];
        Statm::parse(read_text(&self.statm, &mut buffer)?)
    }
}

/// The fields of `statm` that the reader uses, in pages.
#[derive(Debug, PartialEq)]
struct Statm {
    size: u64,
    resident: u64,
    shared: u64,
}

impl Statm {
    fn parse(text: &str) -> io::Result<Self> {
        let mut fields = text.split_ascii_whitespace().map(str::parse);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(Ok(size)), Some(Ok(resident)), Some(Ok(shared))) => Ok(Self {
                size,
                resident,
                shared,
            }),
            _ => Err(malformed("statm")),
        }
    }
}

/// The fields of `stat` that the reader uses.
#[derive(Debug, PartialEq)]
struct Stat {
    pid: u32,
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
}

impl Stat {
    fn read(file: &File) -> io::Result<Self> {
        let mut buffer = [0; STAT_CAPACITY];
        Self::parse(read_text(file, &mut buffer)?)
    }

    fn parse(text: &str) -> io::Result<Self> {
        // The name may contain spaces and brackets, so counting starts after its last bracket.
        let (head, tail) = text.rsplit_once(')').ok_or_else(|| malformed("stat"))?;
        let pid = head
            .split_ascii_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        // `tail` starts with field 3, the state.
        let field = |number: usize| {
            tail.split_ascii_whitespace()
                .nth(number - 3)?
                .parse::<u64>()
                .ok()
        };
        match (pid, field(14), field(15), field(20), field(22)) {
            (Some(pid), Some(user), Some(kernel), Some(threads), Some(start_ticks)) => Ok(Self {
                pid,
                cpu_ticks: user + kernel,
                threads,
                start_ticks,
            }),
            _ => Err(malformed("stat")),
        }
    }
}

/// The boot time in `/proc/stat`, in seconds since 1970.
fn parse_boot_time(text: &str) -> io::Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
        .ok_or_else(|| malformed("btime"))
}

/// The number of open descriptors. Since Linux 6.2 it is the size of the folder. Earlier kernels
/// report a size of zero, and the entries are counted one by one.
fn open_fds() -> io::Result<u64> {
    match fs::metadata("/proc/self/fd")?.len() {
        0 => {
            let entries = fs::read_dir("/proc/self/fd")?.filter(Result::is_ok).count() as u64;
            // The listing itself holds one descriptor.
            Ok(entries.saturating_sub(1))
        }
        count => Ok(count),
    }
}

fn read_text<'b>(file: &File, buffer: &'b mut [u8]) -> io::Result<&'b str> {
    let length = file.read_at(buffer, 0)?;
    buffer
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .ok_or_else(|| malformed("text"))
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("procfs: {file} is malformed"),
    )
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::subprocess_test;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text = "42 (a) b (c)) S 1 42 42 0 -1 4194304 90 0 0 0 11 7 0 0 20 0 5 0 1234 3133440 438 \
                    18446744073709551615 1 1 0";
        assert_eq!(
            Stat::parse(text).unwrap(),
            Stat {
                pid: 42,
                cpu_ticks: 18,
                threads: 5,
                start_ticks: 1234
            }
        );
    }

    #[test]
    fn malformed_files_are_errors() {
        for text in [
            "",
            "1 (x",
            "1 (x) S 1",
            "x (x) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ] {
            assert_eq!(
                Stat::parse(text).unwrap_err().kind(),
                io::ErrorKind::InvalidData,
                "{text}"
            );
        }
        for text in ["", "1 2", "1 two 3"] {
            assert_eq!(
                Statm::parse(text).unwrap_err().kind(),
                io::ErrorKind::InvalidData,
                "{text}"
            );
        }
        assert!(parse_boot_time("cpu 1 2 3\n").is_err());
    }

    #[test]
    fn a_reading_describes_this_process() {
        let reader = ProcessReader::new().unwrap();
        let reading = reader.read().unwrap();
        assert_eq!(reading.pid, std::process::id());
        assert!(
            reading.resident_bytes > reading.resident_file_bytes,
            "{reading:?}"
        );
        assert!(
            reading.virtual_bytes > reading.resident_bytes,
            "{reading:?}"
        );
        assert!(reading.resident_file_bytes > 0, "{reading:?}");
        assert!(reading.threads >= 1, "{reading:?}");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age = now - reading.start_time_unix_seconds;
        assert!((-2.0..3600.0).contains(&age), "started {age} s ago");
    }

    #[test]
    fn resident_bytes_grow_with_touched_pages() {
        const TEST: &str = "process::procfs::tests::resident_bytes_grow_with_touched_pages";
        subprocess_test::check(TEST, || {
            const BYTES: u64 = 64 << 20;
            let reader = ProcessReader::new().unwrap();
            let before = reader.resident_bytes().unwrap();
            let touched = std::hint::black_box(vec![1_u8; BYTES as usize]);
            let after = reader.resident_bytes().unwrap();
            drop(touched);
            assert!(after - before >= BYTES * 9 / 10, "{before} -> {after}");
        });
    }

    #[test]
    fn open_descriptors_are_counted() {
        const TEST: &str = "process::procfs::tests::open_descriptors_are_counted";
        subprocess_test::check(TEST, || {
            let reader = ProcessReader::new().unwrap();
            let before = reader.read().unwrap().open_fds;
            let open = || File::open("/proc/self/stat").unwrap();
            let held: Vec<File> = (0..100).map(|_| open()).collect();
            let after = reader.read().unwrap().open_fds;
            assert_eq!(after, before + held.len() as u64);
        });
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let reader = ProcessReader::new().unwrap();
        let before = reader.read().unwrap().cpu_seconds_total;
        let end = std::time::Instant::now() + std::time::Duration::from_millis(200);
        let mut work = 0_u64;
        while std::time::Instant::now() < end {
            work = std::hint::black_box(work.wrapping_mul(31).wrapping_add(1));
        }
        assert!(reader.read().unwrap().cpu_seconds_total > before);
    }
}
