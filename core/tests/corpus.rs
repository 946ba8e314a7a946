//! Replays the corpus of every fuzz target.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "code of tests")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn every_target_survives_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let folders = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let folders: BTreeSet<String> = folders.collect();
    let targets: BTreeSet<String> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        folders, targets,
        "folders of core/fuzz/corpus (left) and targets of core/fuzz/src/lib.rs (right) differ"
    );
    let mut broken = Vec::new();
    for (name, target) in fuzz::TARGETS {
        let mut seen = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            seen += 1;
            // Each half too: a seed that is cut off is the commonest lie.
            let runs = [&data[..], &data[..data.len() / 2], &data[data.len() / 2..]];
            if catch_unwind(|| runs.into_iter().for_each(*target)).is_err() {
                broken.push(path);
            }
        }
        assert!(seen >= 4, "the corpus of {name} has {seen} seeds only");
    }
    assert!(broken.is_empty(), "these seeds break their target: {broken:?}");
}

/// A little of what a fuzzer does, the same each time.
#[test]
fn every_target_survives_damaged_seeds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut random = fastrand::Rng::with_seed(7);
    for (name, target) in fuzz::TARGETS {
        let mut paths: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let seed = fs::read(&path).unwrap();
            for round in 0..50 {
                let mut data = seed.clone();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(0..=data.len());
                    match random.u8(0..4) {
                        0 => data.insert(at, random.u8(..)),
                        1 => data.truncate(at),
                        2 => data.extend_from_within(at..),
                        _ => data.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(0..8)),
                    }
                }
                let survived = catch_unwind(|| target(&data)).is_ok();
                assert!(survived, "round {round} of {} breaks {name}: {data:?}", path.display());
            }
        }
    }
}
