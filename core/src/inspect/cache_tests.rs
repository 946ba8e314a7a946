use super::*;
use crate::inspect::{BiosLoader, TableKind};

fn found(size: u64) -> Inspection {
    Inspection {
        v: VERSION,
        size,
        table: TableKind::None,
        partitions: Vec::new(),
        overlaps: Vec::new(),
        bios: BiosLoader::default(),
        efi: Vec::new(),
        linux: Vec::new(),
        windows: Vec::new(),
    }
}

#[test]
fn it_holds_until_the_image_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("a.raw");
    fs::write(&image, [1; 512]).unwrap();
    let (cache, name): (_, Name) = (InspectionCache::new(dir.path()), "a".parse().unwrap());
    let never = || -> Result<Inspection, String> { panic!("it was looked into already") };
    assert_eq!(cache.get(&name, &image, 1), None);
    assert_eq!(cache.get_or(&name, &image, 1, || Ok(found(1))).unwrap().size, 1);
    assert_eq!(cache.get_or(&name, &image, 1, never).unwrap().size, 1);
    assert_eq!(fs::metadata(cache.file(&name)).unwrap().mode() & 0o777, 0o600);
    assert_eq!(cache.get(&name, &image, 2), None, "a commit made another one of it");
    // The same bytes in another file.
    fs::write(dir.path().join("b.raw"), [1; 512]).unwrap();
    fs::rename(dir.path().join("b.raw"), &image).unwrap();
    assert_eq!(cache.get(&name, &image, 1), None);
    assert_eq!(cache.get_or(&name, &image, 1, || Err("damaged".into())), Err("damaged".into()));
    assert_eq!(cache.get(&name, &image, 1), None);
}

#[test]
fn what_changed_while_it_was_looked_into_is_not_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("a.raw");
    fs::write(&image, [1; 512]).unwrap();
    let (cache, name): (_, Name) = (InspectionCache::new(dir.path()), "a".parse().unwrap());
    let changed = || {
        fs::write(&image, [2; 1024]).unwrap();
        Ok(found(1))
    };
    assert!(cache.get_or(&name, &image, 1, changed).is_ok());
    assert_eq!(cache.get(&name, &image, 1), None);
}
