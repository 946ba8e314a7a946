//! Disks as the tree that they are, and the sentences of a disk's card. Linear in the number of disks and overlays.

use std::collections::HashMap;

use bootyard_core::api::{DiskView, OverlayView, Snapshot};

use crate::gui::lang::{count, t};
use crate::gui::say::{self, bytes};

/// The depth beyond which cards are no longer indented further.
pub(super) const DEEPEST: usize = 6;

/// A disk's place: where it is in the snapshot, and how many ancestors are above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) depth: usize,
}

/// Every disk once: those of which no parent is here in the order of the lab, each followed by its snapshots.
pub(super) fn tree(disks: &[DiskView]) -> Vec<Place> {
    let by_name: HashMap<&str, usize> = disks.iter().enumerate().map(|(at, d)| (d.name.as_str(), at)).collect();
    let parent = |d: &DiskView| d.parent.as_ref().and_then(|(name, _)| by_name.get(name.as_str()).copied());
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); disks.len()];
    let mut todo: Vec<Place> = Vec::new();
    for (at, disk) in disks.iter().enumerate().rev() {
        match parent(disk).and_then(|p| children.get_mut(p)) {
            Some(siblings) => siblings.push(at),
            None => todo.push(Place { at, depth: 0 }),
        }
    }
    let mut seen = vec![false; disks.len()];
    let mut order = Vec::with_capacity(disks.len());
    walk(&mut todo, &children, &mut seen, &mut order);
    // Disks that name each other as their parents have no root; they are shown all the same.
    for at in 0..disks.len() {
        if seen.get(at) == Some(&false) {
            walk(&mut vec![Place { at, depth: 0 }], &children, &mut seen, &mut order);
        }
    }
    order
}

fn walk(todo: &mut Vec<Place>, children: &[Vec<usize>], seen: &mut [bool], order: &mut Vec<Place>) {
    while let Some(place) = todo.pop() {
        let Some(mark) = seen.get_mut(place.at) else { continue };
        if std::mem::replace(mark, true) {
            continue;
        }
        order.push(place);
        let below = children.get(place.at).into_iter().flatten();
        todo.extend(below.map(|&at| Place { at, depth: (place.depth + 1).min(DEEPEST) }));
    }
}

/// `5 disks, 41 GiB on disk; 30 overlays, 12 GiB`.
pub(super) fn total(shot: &Snapshot) -> String {
    let add = u64::saturating_add;
    let older = |d: &DiskView| d.older.iter().map(|g| g.allocated).fold(0, add);
    let images = shot.disks.iter().map(|d| d.allocated.saturating_add(older(d))).fold(0, add);
    let count: usize = shot.disks.iter().map(|d| d.overlays.len()).sum();
    let written = shot.disks.iter().map(|d| sum(&d.overlays)).fold(0, add);
    let text = count!(shot.disks.len(), "{n} disk, {size} on disk", "{n} disks, {size} on disk", size = bytes(images));
    if count == 0 {
        return text;
    }
    format!("{text}; {}", count!(count, "{n} overlay, {size}", "{n} overlays, {size}", size = bytes(written)))
}

/// Bytes of these overlays.
pub(super) fn sum<'a>(overlays: impl IntoIterator<Item = &'a OverlayView>) -> u64 {
    overlays.into_iter().map(|o| o.bytes).fold(0, u64::saturating_add)
}

/// By host, and numbers in names by their value: pc-2 before pc-10.
pub(super) fn sorted(overlays: &[OverlayView]) -> Vec<&OverlayView> {
    let mut list: Vec<&OverlayView> = overlays.iter().collect();
    list.sort_by_cached_key(|o| (natural(&o.host), o.id.clone()));
    list
}

/// A name by which names with numbers stand in the order in which people count.
pub(super) fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = vec![(String::new(), 0)];
    let mut in_number = false;
    for c in name.chars() {
        if let Some(digit) = c.to_digit(10) {
            if let Some((_, n)) = parts.last_mut() {
                *n = n.saturating_mul(10).saturating_add(digit.into());
            }
            in_number = true;
            continue;
        }
        if std::mem::take(&mut in_number) {
            parts.push((String::new(), 0));
        }
        if let Some((text, _)) = parts.last_mut() {
            text.extend(c.to_lowercase());
        }
    }
    parts
}

/// `Generation 2, 1.1 GiB, kept because pc-03's overlay stands on it`, one a former generation.
pub(super) fn older(disk: &DiskView) -> Vec<String> {
    if disk.older.is_empty() {
        return Vec::new();
    }
    let mut standing: HashMap<u64, Vec<String>> = HashMap::new();
    for overlay in sorted(&disk.overlays) {
        standing.entry(overlay.generation).or_default().push(overlay.host.clone());
    }
    disk.older
        .iter()
        .map(|g| {
            let text = t!("Generation {n}, {size}", n = g.generation, size = bytes(g.allocated));
            match standing.get(&g.generation).map(Vec::as_slice) {
                None | Some([]) => text,
                Some([one]) => {
                    let host = say::clean_to(one, 40);
                    t!("{generation}, kept because {host}'s overlay stands on it", generation = text, host = host)
                }
                Some(many) => {
                    let hosts = say::names(many, 4);
                    t!("{generation}, kept because overlays of {hosts} stand on it", generation = text, hosts = hosts)
                }
            }
        })
        .collect()
}

/// `Taken from lab, generation 2`; says when that one is not `here` any more.
pub(super) fn origin(disk: &DiskView, here: bool) -> Option<String> {
    let (name, generation) = disk.parent.as_ref()?;
    let name = say::clean_to(name, 63);
    Some(if here {
        t!("Taken from {disk}, generation {n}", disk = name, n = generation)
    } else {
        t!("Taken from {disk}, generation {n}, which is no longer here", disk = name, n = generation)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gui::tests::sample::{disk, overlay};

    fn order(disks: &[DiskView]) -> Vec<(&str, usize)> {
        tree(disks).into_iter().map(|p| (disks[p.at].name.as_str(), p.depth)).collect()
    }

    fn child(name: &str, parent: &str) -> DiskView {
        DiskView { parent: Some((parent.into(), 1)), ..disk(name, 0, vec![]) }
    }

    #[test]
    fn snapshots_stand_below_what_they_were_taken_from() {
        let disks = [child("b", "lab"), disk("lab", 0, vec![]), child("c", "b"), child("d", "lab"), child("e", "gone")];
        assert_eq!(order(&disks), [("lab", 0), ("b", 1), ("c", 2), ("d", 1), ("e", 0)]);
    }

    #[test]
    fn disks_that_name_each_other_are_shown_once_each() {
        let disks = [child("a", "b"), child("b", "a"), child("c", "c")];
        let mut names: Vec<&str> = order(&disks).into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn hosts_are_in_the_order_in_which_a_person_counts() {
        let overlays = [overlay(10, false), overlay(2, false), overlay(1, true)];
        let names: Vec<&str> = sorted(&overlays).iter().map(|o| o.host.as_str()).collect();
        assert_eq!(names, ["pc-01", "pc-02", "pc-10"]);
        assert!(natural("pc-2") < natural("pc-10"));
    }
}
