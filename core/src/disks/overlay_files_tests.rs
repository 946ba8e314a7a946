//! An overlay on real files: damage, writers side by side, and `kill -9`.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::*;

fn real(dir: &Path, sectors: usize) -> (PathBuf, Arc<Golden>) {
    let base = golden(sectors);
    let folder = dir.join("overlay");
    Overlay::create(&folder, &header(base.size())).unwrap();
    (folder, base)
}

#[test]
fn a_damaged_map_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, base) = real(dir.path(), 800);
    let overlay = Overlay::open(&folder, base.clone(), 0).unwrap();
    overlay.write_at(&[9; 4096], 8192).unwrap();
    drop(overlay);
    // As if the kernel had been started again, so that only `map` counts.
    let live = OpenOptions::new().write(true).open(folder.join("live")).unwrap();
    Map::close(&Arc::new(live), "another boot").unwrap();
    let map = fs::read(folder.join("map")).unwrap();
    for at in [100, 4096 + 4096 + 40] {
        let mut broken = map.clone();
        broken[at] ^= 1;
        fs::write(folder.join("map"), &broken).unwrap();
        let error = Overlay::open(&folder, base.clone(), 0).unwrap_err();
        assert!(matches!(error, DiskError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(folder.join("map")).unwrap(), broken);
    }
    fs::write(folder.join("map"), &map).unwrap();
    let mut buf = [0; 4096];
    Overlay::open(&folder, base.clone(), 0).unwrap().read_at(&mut buf, 8192).unwrap();
    assert_eq!(buf, [9; 4096]);
    fs::remove_file(folder.join("data")).unwrap();
    assert!(matches!(Overlay::open(&folder, base, 0).unwrap_err(), DiskError::Damaged { .. }));
}

#[test]
fn writers_of_parts_of_one_block_never_lose_each_others_sectors() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, base) = real(dir.path(), 8 * 64);
    let overlay = Overlay::open(&folder, base, 0).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8usize {
            let overlay = &overlay;
            scope.spawn(move || {
                for block in 0..64 {
                    overlay.write_at(&[writer as u8 + 1; SECTOR], ((block * 8 + writer) * SECTOR) as u64).unwrap();
                }
            });
        }
    });
    let mut all = vec![0; 8 * 64 * SECTOR];
    overlay.read_at(&mut all, 0).unwrap();
    for (n, sector) in all.chunks(SECTOR).enumerate() {
        assert_eq!(sector, [(n % 8) as u8 + 1; SECTOR], "sector {n}");
    }
}

#[test]
fn stripes_cover_every_block_of_a_range() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, base) = real(dir.path(), 80);
    let overlay = Overlay::open(&folder, base, 0).unwrap();
    let mebi = 256;
    assert_eq!(overlay.lock_stripes(&(0..1)).len(), 1);
    assert_eq!(overlay.lock_stripes(&(mebi - 1..mebi + 1)).len(), 2);
    assert_eq!(overlay.lock_stripes(&(63 * mebi..66 * mebi)).len(), 3);
    assert_eq!(overlay.lock_stripes(&(0..1000 * mebi)).len(), STRIPES);
}

/// The other half of the next test: writes, and says so, until it is killed.
#[test]
fn a_process_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os("BOOTYARD_TEST_OVERLAY") else { return };
    let overlay = Overlay::open(Path::new(&folder), golden(8 * 512), 0).unwrap();
    let mut luck = fastrand::Rng::new();
    let mut out = std::io::stderr();
    for n in 1u32.. {
        let sector = luck.u32(..8 * 512);
        let mut content = [0; SECTOR];
        content[..4].copy_from_slice(&n.to_le_bytes());
        overlay.write_at(&content, u64::from(sector) * SECTOR as u64).unwrap();
        out.write_all(&[sector.to_le_bytes(), n.to_le_bytes()].concat()).unwrap();
        if n % 1000 == 0 {
            overlay.flush().unwrap();
        }
    }
}

#[test]
fn every_write_that_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, base) = real(dir.path(), 8 * 512);
    let mut model: Vec<Option<u32>> = vec![None; 8 * 512];
    for round in 0..3u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disks::overlay::tests::files::a_process_that_writes_until_it_is_killed", "--nocapture"])
            .env("BOOTYARD_TEST_OVERLAY", &folder)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut pipe = child.stderr.take().unwrap();
        let mut acknowledged = Vec::new();
        let mut buf = vec![0; 4096];
        while acknowledged.len() < 8 * (1500 + 700 * round as usize) {
            let n = pipe.read(&mut buf).unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&acknowledged));
            acknowledged.extend_from_slice(&buf[..n]);
        }
        child.kill().unwrap();
        pipe.read_to_end(&mut acknowledged).unwrap();
        child.wait().unwrap();
        for ack in acknowledged.chunks_exact(8) {
            let sector = u32::from_le_bytes(ack[..4].try_into().unwrap());
            model[sector as usize] = Some(u32::from_le_bytes(ack[4..].try_into().unwrap()));
        }
        let overlay = Overlay::open(&folder, base.clone(), 0).unwrap();
        let mut unacknowledged = 0;
        for (n, expected) in model.iter_mut().enumerate() {
            let mut sector = [0; SECTOR];
            overlay.read_at(&mut sector, (n * SECTOR) as u64).unwrap();
            let is = u32::from_le_bytes(sector[..4].try_into().unwrap());
            match expected {
                Some(number) if is == *number => {}
                None if sector[..] == base.0[n * SECTOR..][..SECTOR] => {}
                // One write may have been done and its acknowledgement not given any more.
                _ => {
                    unacknowledged += 1;
                    *expected = Some(is);
                }
            }
        }
        assert!(unacknowledged <= 1, "{unacknowledged} sectors are not what was acknowledged last");
        // What is open for a moment only must not look like an orderly end to the next round.
        drop(overlay);
    }
}

#[test]
fn an_overlay_of_before_there_were_atomic_writes_gets_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, base) = real(dir.path(), 800);
    fs::remove_file(folder.join("atomic")).unwrap();
    let overlay = Overlay::open(&folder, base.clone(), 0).unwrap();
    overlay.write_atomic(&[9; 8192], 512).unwrap();
    let too_long = vec![0; overlay.atomic() as usize + SECTOR];
    assert_eq!(overlay.write_atomic(&too_long, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    drop(overlay);
    let mut buf = [0; 8192];
    Overlay::open(&folder, base, 0).unwrap().read_at(&mut buf, 512).unwrap();
    assert_eq!(buf, [9; 8192]);
}

#[test]
fn only_what_no_write_can_reach_is_named_as_a_part_of_the_image() {
    const SIZE: u64 = 64 * BLOCK;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("golden.raw");
    fs::write(&path, vec![7; usize::try_from(SIZE).unwrap()]).unwrap();
    let image = Arc::new(crate::disks::Image::open_shared(&path).unwrap());
    let folder = dir.path().join("overlay");
    Overlay::create(&folder, &header(SIZE)).unwrap();
    // Larger than its image: behind it there are zeroes, which are in no file.
    let overlay = Overlay::open(&folder, image.clone(), SIZE + 8 * BLOCK).unwrap();
    overlay.write_at(&[1; 512], 10 * BLOCK).unwrap();
    overlay.zero(20 * BLOCK, BLOCK, true).unwrap();
    overlay.write_atomic(&[2; 512], 30 * BLOCK).unwrap();
    let whole = |at: u64, blocks: u64| {
        let extent = overlay.extent(at * BLOCK, blocks * BLOCK)?;
        assert_eq!((extent.offset, extent.len), (at * BLOCK, blocks * BLOCK));
        assert_eq!(Some(&extent), image.extent(at * BLOCK, blocks * BLOCK).as_ref(), "it is the image's file");
        Some(())
    };
    for (at, blocks, named) in [
        (0, 10, true),
        (11, 9, true),
        (31, 33, true),
        (10, 1, false),
        (9, 2, false),
        (20, 1, false),
        (30, 1, false),
        (0, 64, false),
        (63, 2, false),
        (64, 1, false),
        (72, 1, false),
        (u64::MAX / BLOCK, 1, false),
        (0, 0, false),
    ] {
        assert_eq!(whole(at, blocks).is_some(), named, "{blocks} blocks from {at}");
    }
    assert!(overlay.extent(100, 512).is_none(), "no sector begins there");
    assert!(overlay.extent(u64::MAX - 511, 512).is_none());
}
