//! Files come, change and go in a real folder.

use super::*;

const NONE: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3600);

fn folder() -> (tempfile::TempDir, Folder) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::new(temporary.path().into());
    (temporary, folder)
}

fn settle_all(folder: &Folder) {
    let look = folder.look(NONE).unwrap();
    for (path, stamp) in look.ready {
        folder.settle(&path, stamp, Ok(()));
    }
    for path in look.vanished {
        folder.forget(&path);
    }
}

fn names(look: &Look) -> Vec<String> {
    let name = |(path, _): &(PathBuf, Stamp)| path.file_name().unwrap().to_string_lossy().into();
    look.ready.iter().map(name).collect()
}

#[test]
fn only_visible_components_count() {
    let (on_disk, folder) = folder();
    for name in ["b.wasm", "a.wasm", ".hidden.wasm", "c.wasm.part", "readme"] {
        fs::write(on_disk.path().join(name), name).unwrap();
    }
    fs::create_dir(on_disk.path().join("d.wasm")).unwrap();
    assert_eq!(names(&folder.look(NONE).unwrap()), ["a.wasm", "b.wasm"]);
}

#[test]
fn a_file_that_changes_is_left_alone_until_it_rests() {
    let (on_disk, folder) = folder();
    let path = on_disk.path().join("a.wasm");
    fs::write(&path, "half").unwrap();
    let first = folder.look(LONG).unwrap();
    assert!(first.ready.is_empty() && first.unsettled);
    let rested = folder.look(NONE).unwrap();
    let (_, stamp) = rested.ready[0];
    fs::write(&path, "the whole of it").unwrap();
    // What was read is not what is there now.
    assert!(folder.look(LONG).unwrap().unsettled);
    folder.settle(&path, stamp, Ok(()));
    assert_eq!(names(&folder.look(NONE).unwrap()), ["a.wasm"]);
    settle_all(&folder);
    let quiet = folder.look(NONE).unwrap();
    assert!(quiet.ready.is_empty() && quiet.vanished.is_empty() && !quiet.unsettled);
}

#[test]
fn a_file_that_goes_is_told_once_and_one_that_returns_in_time_is_not_gone() {
    let (on_disk, folder) = folder();
    let path = on_disk.path().join("a.wasm");
    fs::write(&path, "1").unwrap();
    settle_all(&folder);
    fs::remove_file(&path).unwrap();
    assert!(folder.look(LONG).unwrap().vanished.is_empty());
    fs::write(&path, "2").unwrap();
    assert_eq!(names(&folder.look(NONE).unwrap()), ["a.wasm"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(
        folder.look(NONE).unwrap().vanished,
        std::slice::from_ref(&path)
    );
    settle_all(&folder);
    assert!(folder.look(NONE).unwrap().vanished.is_empty());
}

#[test]
fn a_problem_stays_until_the_file_is_another_one() {
    let (on_disk, folder) = folder();
    let path = on_disk.path().join("a.wasm");
    fs::write(&path, "not wasm").unwrap();
    let (_, stamp) = folder.look(NONE).unwrap().ready[0];
    folder.settle(&path, stamp, Err(&PluginError::Refused("no".into())));
    assert_eq!(folder.problems()[0].error, "no");
    assert!(folder.look(NONE).unwrap().ready.is_empty());
    folder.retry_waiting();
    assert!(
        folder.look(NONE).unwrap().ready.is_empty(),
        "it waits for nothing"
    );
    fs::write(&path, "better").unwrap();
    settle_all(&folder);
    assert_eq!(folder.problems(), []);
}

#[test]
fn a_file_whose_id_is_taken_is_tried_again_when_one_becomes_free() {
    let (on_disk, folder) = folder();
    let path = on_disk.path().join("a.wasm");
    fs::write(&path, "x").unwrap();
    let (_, stamp) = folder.look(NONE).unwrap().ready[0];
    let taken = PluginError::IdTaken {
        id: "a".into(),
        owner: "b.wasm".into(),
    };
    folder.settle(&path, stamp, Err(&taken));
    assert!(folder.look(NONE).unwrap().ready.is_empty());
    folder.retry_waiting();
    assert_eq!(names(&folder.look(NONE).unwrap()), ["a.wasm"]);
}

#[test]
fn a_folder_that_is_gone_takes_nothing_with_it() {
    let (on_disk, folder) = folder();
    fs::write(on_disk.path().join("a.wasm"), "1").unwrap();
    settle_all(&folder);
    fs::remove_dir_all(on_disk.path()).unwrap();
    assert!(folder.look(NONE).is_err());
    assert_eq!(folder.problems().len(), 1);
    fs::create_dir(on_disk.path()).unwrap();
    assert_eq!(folder.look(NONE).unwrap().vanished.len(), 1);
    assert_eq!(folder.problems(), []);
}

#[test]
fn what_is_staged_is_hidden_and_goes_unless_it_is_committed() {
    let (on_disk, folder) = folder();
    let target = folder.file_of("a");
    drop(folder.stage(target.clone(), b"1").unwrap());
    assert_eq!(fs::read_dir(on_disk.path()).unwrap().count(), 0);
    let staged = folder.stage(target.clone(), b"2").unwrap();
    assert!(folder.look(NONE).unwrap().ready.is_empty());
    staged.commit().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"2");
    folder.settle_now(&target);
    assert!(folder.look(NONE).unwrap().ready.is_empty(), "nothing new");
    assert_eq!(fs::read_dir(on_disk.path()).unwrap().count(), 1);
}
