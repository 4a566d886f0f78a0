use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::testing::{FakeLoader, model_bytes};

struct Bench {
    registry: Registry,
    loader: FakeLoader,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { registry: Registry::default(), loader: FakeLoader::default(), folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, padding: usize, tag: u8) -> PathBuf {
        let path = self.folder.path().join(name);
        // A new file each time, as atomic replacement does: the inode tells it from the old one at once.
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, model_bytes(padding, tag)).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
        path
    }

    fn load(&self, path: &Path) -> Result<Arc<Session>> {
        self.load_with(path, Recheck::Always).map(|loaded| loaded.session)
    }

    fn load_with(&self, path: &Path, recheck: Recheck) -> Result<Loaded> {
        self.registry.load_path(path, &LoadOptions::default(), recheck, &self.loader)
    }

    fn loads(&self) -> usize {
        self.loader.loads.load(SeqCst)
    }
}

#[test]
fn same_content_is_loaded_once_wherever_it_lies() {
    let bench = Bench::new();
    let (a, b, other) = (bench.write("a", 3, 1), bench.write("b", 3, 1), bench.write("c", 3, 2));
    let first = bench.load(&a).unwrap();
    assert!(Arc::ptr_eq(&first, &bench.load(&a).unwrap()));
    assert!(Arc::ptr_eq(&first, &bench.load(&b).unwrap()), "another file of the same content");
    let bytes = bench.registry.load_bytes(&model_bytes(3, 1), &LoadOptions::default(), &bench.loader).unwrap();
    assert!(Arc::ptr_eq(&first, &bytes), "the same content as bytes");
    assert!(!Arc::ptr_eq(&first, &bench.load(&other).unwrap()), "another content of the same size");
    let options = LoadOptions { threads: 2, ..LoadOptions::default() };
    let threaded = bench.registry.load_path(&a, &options, Recheck::Always, &bench.loader).unwrap().session;
    assert!(!Arc::ptr_eq(&first, &threaded), "other options");
    assert_eq!((bench.loads(), bench.registry.sessions().len()), (3, 3));
}

#[test]
fn a_load_that_finds_the_content_uses_its_session() {
    let bench = Bench::new();
    let (a, other, copy) = (bench.write("a", 3, 1), bench.write("b", 3, 2), bench.write("copy", 3, 1));
    let first = bench.load(&a).unwrap();
    let newest = |session: &Arc<Session>| Arc::ptr_eq(session, &bench.registry.sessions()[0].0);
    let second = bench.load(&other).unwrap();
    assert!(newest(&second));
    bench.load(&copy).unwrap();
    assert!(newest(&first), "by a file");
    bench.load(&other).unwrap();
    bench.registry.load_bytes(&model_bytes(3, 1), &LoadOptions::default(), &bench.loader).unwrap();
    assert!(newest(&first), "by bytes");
}

#[test]
fn a_place_that_shared_a_session_goes_its_own_way() {
    let bench = Bench::new();
    let (copy, path) = (bench.write("copy", 3, 1), bench.write("a", 3, 1));
    let shared = bench.load(&copy).unwrap();
    assert!(Arc::ptr_eq(&shared, &bench.load(&path).unwrap()));
    bench.write("a", 3, 2);
    assert!(!Arc::ptr_eq(&shared, &bench.load(&path).unwrap()));
    assert!(Arc::ptr_eq(&shared, &bench.load(&copy).unwrap()));
}

#[test]
fn contents_that_were_replaced_do_not_pile_up() {
    let bench = Bench::new();
    let path = bench.write("a", 3, 1);
    let held = bench.load(&path).unwrap();
    for tag in 2..6 {
        bench.write("a", 3, tag);
        bench.load(&path).unwrap();
    }
    assert_eq!(bench.registry.sessions().len(), 2, "the newest, and the one that is held");
    drop(held);
    bench.write("a", 3, 6);
    bench.load(&path).unwrap();
    assert_eq!(bench.registry.sessions().len(), 1);
}

#[test]
fn many_threads_load_once() {
    let mut bench = Bench::new();
    bench.loader.takes = Duration::from_millis(50);
    let paths = [bench.write("a", 3, 1), bench.write("b", 3, 1)];
    std::thread::scope(|scope| {
        for index in 0..32 {
            let (bench, path) = (&bench, &paths[index % 2]);
            scope.spawn(move || bench.load(path).unwrap());
        }
    });
    assert_eq!(bench.loads(), 1);
}

#[test]
fn failures_are_not_remembered() {
    let bench = Bench::new();
    let path = bench.write("a", 3, b'!');
    assert!(bench.load(&path).is_err());
    assert!(bench.load(&path).is_err());
    assert_eq!(bench.loads(), 2);
    bench.write("a", 3, 1);
    assert!(bench.load(&path).is_ok());
}

#[test]
fn a_changed_file_is_loaded_anew_or_leaves_the_old_session() {
    let bench = Bench::new();
    let path = bench.write("a", 3, 1);
    let reload = Recheck::Every(Duration::ZERO);
    let old = bench.load_with(&path, reload).unwrap().session;
    bench.write("a", 4, b'!');
    let kept = bench.load_with(&path, reload).unwrap();
    assert!(Arc::ptr_eq(&old, &kept.session) && kept.stale_because.is_some());
    let kept = bench.load_with(&path, reload).unwrap();
    assert!(Arc::ptr_eq(&old, &kept.session) && kept.stale_because.is_none(), "told once");
    assert!(bench.load(&path).is_err(), "without reload a broken file is an error");
    std::fs::remove_file(&path).unwrap();
    let kept = bench.load_with(&path, reload).unwrap();
    assert!(Arc::ptr_eq(&old, &kept.session) && kept.stale_because.is_some(), "a file that is gone is news");
    bench.write("a", 5, 2);
    let new = bench.load_with(&path, reload).unwrap();
    assert!(!Arc::ptr_eq(&old, &new.session) && new.stale_because.is_none());
    bench.write("a", 6, 3);
    let hour = Recheck::Every(Duration::from_hours(1));
    assert!(Arc::ptr_eq(&new.session, &bench.load_with(&path, hour).unwrap().session), "not looked at before its time");
}

#[test]
fn the_budget_takes_what_nobody_holds_in_order_of_use() {
    let bench = Bench::new();
    let paths: Vec<PathBuf> = (0_u8..4).map(|tag| bench.write(&tag.to_string(), 6, tag)).collect();
    let held = bench.load(&paths[0]).unwrap();
    for path in &paths[1..] {
        bench.load(path).unwrap();
    }
    bench.load(&paths[1]).unwrap();
    bench.registry.set_budget(Some(30));
    let is_loaded = |path: &Path| {
        bench.registry.sessions().iter().any(|(session, _)| match session.origin() {
            Origin::File(file) => file.path() == path,
            Origin::Bytes(..) => false,
        })
    };
    let left: Vec<bool> = paths.iter().map(|path| is_loaded(path)).collect();
    assert_eq!(left, [true, true, false, true], "ten bytes each: the least recently used goes");
    bench.registry.set_budget(Some(0));
    assert_eq!(bench.registry.sessions().len(), 1, "what is held stays");
    assert!(is_loaded(&paths[0]));
    drop(held);
    bench.load(&paths[3]).unwrap();
    assert!(!is_loaded(&paths[0]), "what is not held any more goes at the next load");
}

#[test]
fn unloading_and_releasing() {
    let bench = Bench::new();
    let path = bench.write("a", 3, 1);
    let first = bench.load(&path).unwrap();
    assert_eq!(bench.registry.unload_path(&path), 1);
    assert_eq!(bench.registry.unload_path(&path), 0);
    let second = bench.load(&path).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    let third = bench.load(&path).unwrap();
    bench.registry.release(second);
    assert_eq!(bench.registry.sessions().len(), 1, "somebody else holds it");
    bench.registry.release(third);
    assert!(bench.registry.sessions().is_empty());
}
