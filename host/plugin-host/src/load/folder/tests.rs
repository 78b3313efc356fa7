//! Files appear, change and vanish in a real folder.

use super::*;

const NO_SETTLE_TIME: Duration = Duration::ZERO;
const ONE_HOUR: Duration = Duration::from_secs(3600);

fn folder() -> (tempfile::TempDir, Folder) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::new(temporary.path().into());
    (temporary, folder)
}

fn handle_all(folder: &Folder) {
    let scan = folder.scan(NO_SETTLE_TIME).unwrap();
    for (path, version) in scan.ready {
        folder.record_outcome(&path, version, Ok(()));
    }
    for path in scan.removed {
        folder.forget(&path);
    }
}

fn names(scan: &Scan) -> Vec<String> {
    let name =
        |(path, _): &(PathBuf, FileVersion)| path.file_name().unwrap().to_string_lossy().into();
    scan.ready.iter().map(name).collect()
}

#[test]
fn only_visible_components_count() {
    let (on_disk, folder) = folder();
    for name in ["b.wasm", "a.wasm", ".hidden.wasm", "c.wasm.part", "readme"] {
        fs::write(on_disk.path().join(name), name).unwrap();
    }
    assert_eq!(
        names(&folder.scan(NO_SETTLE_TIME).unwrap()),
        ["a.wasm", "b.wasm"]
    );
}

#[test]
fn a_folder_or_a_link_without_a_target_is_handled_once() {
    let (on_disk, folder) = folder();
    let directory = on_disk.path().join("d.wasm");
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::symlink("missing", on_disk.path().join("l.wasm")).unwrap();
    let scan = folder.scan(NO_SETTLE_TIME).unwrap();
    assert_eq!(names(&scan), ["d.wasm", "l.wasm"]);
    // Files in it change its time.
    fs::write(directory.join("inside"), "").unwrap();
    assert!(folder.scan(NO_SETTLE_TIME).unwrap().ready.is_empty());
    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "a file now").unwrap();
    assert_eq!(names(&folder.scan(NO_SETTLE_TIME).unwrap()), ["d.wasm"]);
}

#[test]
fn a_file_that_keeps_changing_is_a_problem_until_it_settles() {
    let (on_disk, folder) = folder();
    let path = on_disk.path().join("a.wasm");
    let age = |time: Duration| {
        let mut state = folder.lock();
        let file = state.files.get_mut(&path).unwrap();
        file.changing_since = file.changing_since.checked_sub(time).unwrap();
    };
    for content in ["1", "22", "333"] {
        fs::write(&path, content).unwrap();
        assert!(folder.scan(ONE_HOUR).unwrap().unsettled);
        assert_eq!(folder.problems(), []);
        age(MAX_SETTLING / 3);
    }
    fs::write(&path, "4444").unwrap();
    assert!(folder.scan(ONE_HOUR).unwrap().unsettled);
    let [problem] = &folder.problems()[..] else {
        panic!("it is listed");
    };
    assert!(problem.error.contains("keeps changing"), "{problem:?}");
    handle_all(&folder);
    assert_eq!(folder.problems(), []);
}

#[test]
fn uploads_to_killed_hosts_are_removed() {
    let (on_disk, folder) = folder();
    let abandoned = on_disk.path().join(".a.wasm.part-0123456789abcdef");
    fs::write(&abandoned, "half").unwrap();
    let staged = folder.stage(folder.upload_path("b"), b"1").unwrap();
    folder.remove_abandoned_uploads();
    assert!(!abandoned.exists());
    staged.commit().unwrap();
}

#[test]
fn a_changing_file_is_not_loaded_until_it_settles() {
    let (on_disk, folder) = folder();
    let path = on_disk.path().join("a.wasm");
    fs::write(&path, "half").unwrap();
    let first = folder.scan(ONE_HOUR).unwrap();
    assert!(first.ready.is_empty() && first.unsettled);
    let settled = folder.scan(NO_SETTLE_TIME).unwrap();
    let (_, version) = settled.ready[0];
    fs::write(&path, "complete").unwrap();
    // The version that was read is not the current one.
    assert!(!folder.is_current(&path, FileVersion { size: 0, ..version }));
    assert!(folder.scan(ONE_HOUR).unwrap().unsettled);
    folder.record_outcome(&path, version, Ok(()));
    assert_eq!(names(&folder.scan(NO_SETTLE_TIME).unwrap()), ["a.wasm"]);
    handle_all(&folder);
    let quiet = folder.scan(NO_SETTLE_TIME).unwrap();
    assert!(quiet.ready.is_empty() && quiet.removed.is_empty() && !quiet.unsettled);
}

#[test]
fn a_removed_file_is_reported_once_and_one_that_returns_in_time_is_not_removed() {
    let (on_disk, folder) = folder();
    let path = on_disk.path().join("a.wasm");
    fs::write(&path, "1").unwrap();
    handle_all(&folder);
    fs::remove_file(&path).unwrap();
    assert!(folder.scan(ONE_HOUR).unwrap().removed.is_empty());
    fs::write(&path, "2").unwrap();
    assert_eq!(names(&folder.scan(NO_SETTLE_TIME).unwrap()), ["a.wasm"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(
        folder.scan(NO_SETTLE_TIME).unwrap().removed,
        std::slice::from_ref(&path)
    );
    handle_all(&folder);
    assert!(folder.scan(NO_SETTLE_TIME).unwrap().removed.is_empty());
}

#[test]
fn a_problem_stays_until_the_file_changes() {
    let (on_disk, folder) = folder();
    let path = on_disk.path().join("a.wasm");
    fs::write(&path, "not wasm").unwrap();
    let (_, version) = folder.scan(NO_SETTLE_TIME).unwrap().ready[0];
    folder.record_outcome(&path, version, Err(&PluginError::Refused("no".into())));
    assert_eq!(folder.problems()[0].error, "no");
    assert!(folder.scan(NO_SETTLE_TIME).unwrap().ready.is_empty());
    folder.retry_taken_ids();
    assert!(
        folder.scan(NO_SETTLE_TIME).unwrap().ready.is_empty(),
        "its id is not the problem"
    );
    fs::write(&path, "better").unwrap();
    handle_all(&folder);
    assert_eq!(folder.problems(), []);
}

#[test]
fn a_file_whose_id_is_taken_is_retried_after_an_id_is_freed() {
    let (on_disk, folder) = folder();
    let path = on_disk.path().join("a.wasm");
    fs::write(&path, "x").unwrap();
    let (_, version) = folder.scan(NO_SETTLE_TIME).unwrap().ready[0];
    let taken = PluginError::IdTaken {
        id: "a".into(),
        owner: "b.wasm".into(),
    };
    folder.record_outcome(&path, version, Err(&taken));
    assert!(folder.scan(NO_SETTLE_TIME).unwrap().ready.is_empty());
    folder.retry_taken_ids();
    assert_eq!(names(&folder.scan(NO_SETTLE_TIME).unwrap()), ["a.wasm"]);
}

#[test]
fn a_missing_folder_removes_no_plugin() {
    let (on_disk, folder) = folder();
    fs::write(on_disk.path().join("a.wasm"), "1").unwrap();
    handle_all(&folder);
    fs::remove_dir_all(on_disk.path()).unwrap();
    assert!(folder.scan(NO_SETTLE_TIME).is_err());
    assert_eq!(folder.problems().len(), 1);
    fs::create_dir(on_disk.path()).unwrap();
    assert_eq!(folder.scan(NO_SETTLE_TIME).unwrap().removed.len(), 1);
    assert_eq!(folder.problems(), []);
}

#[test]
fn a_staged_file_is_hidden_and_is_removed_unless_it_is_committed() {
    let (on_disk, folder) = folder();
    let target = folder.upload_path("a");
    drop(folder.stage(target.clone(), b"1").unwrap());
    assert_eq!(fs::read_dir(on_disk.path()).unwrap().count(), 0);
    let staged = folder.stage(target.clone(), b"2").unwrap();
    assert!(folder.scan(NO_SETTLE_TIME).unwrap().ready.is_empty());
    staged.commit().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"2");
    folder.mark_current(&target);
    assert!(
        folder.scan(NO_SETTLE_TIME).unwrap().ready.is_empty(),
        "no change"
    );
    assert_eq!(fs::read_dir(on_disk.path()).unwrap().count(), 1);
}
