//! The resident pages of the program's own code.
//!
//! Starting a host runs code that never runs again: parsing options, instrumenting and loading
//! plugins. The kernel also maps up to 15 pages around each page that runs. About 10 MB of such
//! pages would stay resident. They are in the page cache, so a page that is needed again costs a
//! minor fault.

use std::fs;
use std::io;
use std::ops::Range;

/// Drops the resident pages of this program's code. The next run of a page maps it again.
///
/// A breakpoint that a debugger has written into the code is lost.
///
/// Returns the bytes of code whose pages were dropped, resident or not.
///
/// # Errors
///
/// When the kernel does not list the mappings (proc_pid_maps(5)), or refuses to drop pages.
#[cfg(target_os = "linux")]
pub fn release() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let Some(program) = program.to_str() else {
        return Ok(0);
    };
    let mut released = 0;
    for range in code_ranges(&maps, program) {
        // SAFETY: the range is a private mapping of the program's file without write access, as
        // the kernel has just listed it. Its pages are unchanged copies of the file: code is
        // position-independent and is never relocated. The kernel maps a page again from the file
        // when it runs, also for threads that run it at this moment. The file of a running program
        // cannot be written (ETXTBSY), and nothing unmaps the range.
        #[allow(unsafe_code, reason = "there is no safe way to drop resident pages")]
        unsafe {
            let start = std::ptr::with_exposed_provenance_mut(range.start);
            rustix::mm::madvise(start, range.len(), rustix::mm::Advice::LinuxDontNeed)?;
        }
        released += range.len();
    }
    Ok(released)
}

/// Drops nothing: only Linux lists mappings in `/proc`.
///
/// # Errors
///
/// None.
#[cfg(not(target_os = "linux"))]
pub fn release() -> io::Result<usize> {
    Ok(0)
}

/// The executable, private, read-only mappings of the program's file.
fn code_ranges(maps: &str, program: &str) -> Vec<Range<usize>> {
    let range = |line: &str| {
        let (mapping, path) = line
            .split_once('/')
            .map(|(m, _)| (m, line.get(m.len()..)))?;
        let mut fields = mapping.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let is_code = fields.next() == Some("r-xp") && path == Some(program);
        let number = |hex| usize::from_str_radix(hex, 16).ok();
        let range = number(start)?..number(end)?;
        is_code.then_some(range)
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::process::ProcessReader;
    use crate::subprocess_test;

    #[test]
    fn only_the_code_of_the_program_is_selected() {
        let maps = "\
55d000-55e000 r--p 00000000 fe:00 531  /opt/my lab/leak-host\n\
55e000-560000 r-xp 00001000 fe:00 531  /opt/my lab/leak-host\n\
560000-561000 r--p 00003000 fe:00 531  /opt/my lab/leak-host\n\
561000-562000 rw-p 00004000 fe:00 531  /opt/my lab/leak-host\n\
562000-563000 r-xs 00004000 fe:00 531  /opt/my lab/leak-host\n\
570000-580000 rw-p 00000000 00:00 0    [heap]\n\
7f0000-7f1000 r-xp 00000000 fe:00 17   /usr/lib/libc.so.6\n\
7f2000-7f3000 r-xp 00000000 fe:00 18   /opt/my lab/leak-host-2\n\
7ff000-800000 r-xp 00000000 00:00 0    [vdso]\n";
        let ranges = code_ranges(maps, "/opt/my lab/leak-host");
        assert_eq!(ranges.len(), 1);
        assert_eq!(ranges[0], 0x55e000..0x560000);
    }

    #[test]
    fn the_code_runs_on_and_takes_less_memory() {
        subprocess_test::check(
            "code_pages::tests::the_code_runs_on_and_takes_less_memory",
            || {
                // Touches every page of the code, as a long start would.
                let program = fs::read_link("/proc/self/exe").unwrap();
                let maps = fs::read_to_string("/proc/self/maps").unwrap();
                let mut sum = 0_u64;
                for range in code_ranges(&maps, program.to_str().unwrap()) {
                    for page in range.step_by(4096) {
                        // SAFETY: the page is mapped and readable.
                        #[allow(unsafe_code, reason = "code has no safe address")]
                        let byte = unsafe { *std::ptr::with_exposed_provenance::<u8>(page) };
                        sum += u64::from(byte);
                    }
                }
                assert_ne!(sum, 0);
                let reader = ProcessReader::new().unwrap();
                let before = reader.read().unwrap().resident_bytes;
                let released = release().unwrap() as u64;
                let after = reader.read().unwrap().resident_bytes;
                assert!(released > 256 << 10, "{released} bytes");
                assert!(
                    after + released / 2 < before,
                    "{before} bytes before, {after} after, {released} released"
                );
            },
        );
    }
}
