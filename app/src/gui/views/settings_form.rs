//! What a person has typed into the settings and not applied yet, and what the engine says of it.
//!
//! A draft outlives every change of the file: it is thrown away when it is applied, reverted, or says the same as the file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bootyard_core::api::{HandleError, HostId, Reply};
use bootyard_core::lab::{Boot, SettingChange, SettingPlace, SettingProblem, SettingValue, Settings, setting_keys};

use super::settings_fields::same;

/// What comes back of a trial.
pub(crate) type Told = Result<Reply, HandleError>;

/// Keys that are applied together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Card {
    /// Where they stand.
    pub(super) place: SettingPlace,
    /// Those of a network that say what machines without an assignment get; all others otherwise.
    pub(super) unknown: bool,
}

const OF_UNKNOWN: [&str; 3] = ["unknown", "unknown-erases-disks", "wait-timeout"];

impl Card {
    /// Of all keys of a place.
    pub(super) fn of(place: SettingPlace) -> Self {
        Self { place, unknown: false }
    }

    fn has(&self, key: &str) -> bool {
        OF_UNKNOWN.contains(&key) == self.unknown
    }

    /// Whether it is an entry that is not there yet.
    pub(super) fn is_new(&self) -> bool {
        is_new(&self.place)
    }
}

fn is_new(place: &SettingPlace) -> bool {
    match place {
        SettingPlace::Subnet { subnet, .. } => subnet.is_empty(),
        SettingPlace::Firmware { arch, mac } => arch.is_none() && mac.is_none(),
        _ => false,
    }
}

/// What a person typed for one key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    /// As typed.
    pub(super) text: String,
    /// As it would be written.
    pub(super) value: Option<SettingValue>,
    /// What was written when it was begun.
    base: Option<SettingValue>,
}

/// What the engine said of a card's drafts.
#[derive(Debug, Clone)]
struct Tried {
    changes: Vec<SettingChange>,
    /// The file as it was then.
    settings: Arc<Settings>,
    problems: Vec<SettingProblem>,
    /// Why it could not even be tried.
    refused: Option<String>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    all: BTreeMap<SettingPlace, BTreeMap<String, Draft>>,
    tried: BTreeMap<Card, Tried>,
    asked: Option<(Card, Tried, Receiver<Told>)>,
    /// The key that has the focus: what is typed there is not touched.
    pub(super) focused: Option<(SettingPlace, String)>,
}

impl Drafts {
    /// What is typed for a key.
    pub(super) fn get(&self, place: &SettingPlace, key: &str) -> Option<&Draft> {
        self.all.get(place)?.get(key)
    }

    /// Something was typed or chosen.
    pub(super) fn put(
        &mut self,
        settings: &Settings,
        place: &SettingPlace,
        key: &str,
        text: String,
        value: Option<SettingValue>,
    ) {
        let of_place = self.all.entry(place.clone()).or_default();
        let base = match of_place.get(key) {
            Some(draft) => draft.base.clone(),
            None => settings.value(place, key).cloned(),
        };
        of_place.insert(key.to_owned(), Draft { text, value, base });
    }

    /// Nothing is typed for a key any more.
    pub(super) fn forget(&mut self, place: &SettingPlace, key: &str) {
        if let Some(of_place) = self.all.get_mut(place) {
            of_place.remove(key);
        }
    }

    /// These are written. No snapshot ever says what a secret is, so a secret's draft cannot be seen to say the same as the file.
    pub(super) fn written(&mut self, changes: &[SettingChange]) {
        for change in changes {
            let SettingChange::Set { place, key, value: value @ Some(SettingValue::Secret(_)) } = change else {
                continue;
            };
            // What was typed meanwhile is another one.
            if self.get(place, key).is_some_and(|draft| draft.value == *value) {
                self.forget(place, key);
            }
        }
    }

    /// What the file says by now, where that is neither what it said when the draft was begun nor what the draft says.
    pub(super) fn overtaken(&self, settings: &Settings, place: &SettingPlace, key: &str) -> Option<String> {
        let draft = self.get(place, key)?;
        let now = settings.value(place, key);
        let overtaken = !same(now, draft.base.as_ref()) && !same(now, draft.value.as_ref());
        overtaken.then(|| now.map(SettingValue::shown).unwrap_or_default())
    }

    /// Throws a card's drafts away.
    pub(super) fn revert(&mut self, card: &Card) {
        if let Some(of_place) = self.all.get_mut(&card.place) {
            of_place.retain(|key, _| !card.has(key));
        }
        self.tried.remove(card);
    }

    /// Whether anything of these places waits to be applied.
    pub(super) fn waits(&self, settings: &Settings, of: impl Fn(&Card) -> bool) -> bool {
        self.cards().into_iter().filter(of).any(|card| !self.changes(settings, &card).is_empty())
    }

    fn cards(&self) -> Vec<Card> {
        let of_place = |place: &SettingPlace| {
            let both: &[bool] = if matches!(place, SettingPlace::Network { .. }) { &[false, true] } else { &[false] };
            both.iter().map(|unknown| Card { place: place.clone(), unknown: *unknown }).collect::<Vec<_>>()
        };
        self.all.keys().flat_map(of_place).collect()
    }

    /// What applying a card would change.
    pub(super) fn changes(&self, settings: &Settings, card: &Card) -> Vec<SettingChange> {
        let Some(drafts) = self.all.get(&card.place) else { return Vec::new() };
        if card.is_new() {
            return added(&card.place, drafts).into_iter().collect();
        }
        let set = |key: &str, value: Option<SettingValue>| SettingChange::Set {
            place: card.place.clone(),
            key: key.to_owned(),
            value,
        };
        let mut changes = Vec::new();
        for key in setting_keys(&card.place).iter().filter(|key| card.has(key)) {
            let Some(draft) = drafts.get(*key) else { continue };
            if !same(draft.value.as_ref(), settings.value(&card.place, key)) {
                changes.push(set(key, draft.value.clone()));
            }
        }
        // That disks are erased is agreed to with the choice, and no longer when another is made.
        if let Some(SettingChange::Set { value, .. }) = changes.iter().find(|c| c.key() == Some("unknown")) {
            let erases =
                matches!(value, Some(SettingValue::Boot(Boot::Install(_)))).then_some(SettingValue::Flag(true));
            if !same(erases.as_ref(), settings.value(&card.place, "unknown-erases-disks")) {
                changes.push(set("unknown-erases-disks", erases));
            }
        }
        // A seat is one of the group's plan: another group has none for the machine yet.
        let moved = changes.iter().any(|change| change.key() == Some("group"));
        let stays = drafts.get("seat").is_none() && settings.value(&card.place, "seat").is_some();
        if moved && stays {
            changes.push(set("seat", None));
        }
        changes
    }

    /// What is wrong with a key, as far as it is known, and whether it is an error. `None` as key: with the card as a whole.
    pub(super) fn problems(&self, settings: &Settings, card: &Card, key: Option<&str>) -> Vec<(String, bool)> {
        let Some(tried) = self.tried.get(card).filter(|tried| tried.changes == self.changes(settings, card)) else {
            return Vec::new();
        };
        let of = |problem: &&SettingProblem| {
            let change = problem.change.and_then(|number| tried.changes.get(number));
            match change.and_then(SettingChange::key) {
                // It has no field of its own.
                Some("unknown-erases-disks") => key == Some("unknown"),
                about => about == key,
            }
        };
        let mut found: Vec<(String, bool)> =
            tried.problems.iter().filter(of).map(|problem| (problem.message.clone(), problem.error)).collect();
        found.extend(tried.refused.iter().filter(|_| key.is_none()).map(|why| (why.clone(), true)));
        found
    }

    /// Whether a card can be applied as far as is known.
    pub(super) fn is_fit(&self, settings: &Settings, card: &Card) -> bool {
        let changes = self.changes(settings, card);
        let refused = |tried: &Tried| {
            tried.changes == changes && (tried.refused.is_some() || tried.problems.iter().any(|problem| problem.error))
        };
        !changes.is_empty() && !self.tried.get(card).is_some_and(refused)
    }

    /// Takes an answer in, and throws away what says the same as the file. `is_known`: whether the machine is in the list; one needs no
    /// entry to be given one.
    pub(super) fn take(&mut self, settings: &Settings, is_known: impl Fn(HostId) -> bool) {
        if let Some((_, _, answer)) = &self.asked {
            match answer.try_recv() {
                Ok(told) => {
                    if let Some((card, mut tried, _)) = self.asked.take() {
                        match told {
                            Ok(Reply::Settings { problems }) => tried.problems = problems,
                            Ok(_) => {}
                            Err(error) => tried.refused = Some(error.to_string()),
                        }
                        self.tried.insert(card, tried);
                    }
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
                // The task ended without an answer; it is asked again with the next change.
                Err(std::sync::mpsc::TryRecvError::Disconnected) => self.asked = None,
            }
        }
        let focused = self.focused.clone();
        for (place, drafts) in &mut self.all {
            if is_new(place) {
                let there = added(place, drafts).is_some_and(|change| is_there(settings, &change));
                if there {
                    drafts.clear();
                }
                continue;
            }
            let typed = |key: &str| focused.as_ref().is_some_and(|(p, k)| p == place && k == key);
            drafts.retain(|key, draft| typed(key) || !same(draft.value.as_ref(), settings.value(place, key)));
        }
        // An entry that is gone, or has another name by now, has no card.
        let there = |place: &SettingPlace| match place {
            SettingPlace::Ports => true,
            SettingPlace::Host { host } => is_known(*host),
            place => is_new(place) || settings.entry(place).is_some(),
        };
        self.all.retain(|place, drafts| !drafts.is_empty() && there(place));
        self.tried.retain(|card, _| self.all.contains_key(&card.place));
    }

    /// The next changes to try, and where to send what comes of it; one after the other.
    pub(super) fn begin(&mut self, settings: &Arc<Settings>) -> Option<(Vec<SettingChange>, Sender<Told>)> {
        if self.asked.is_some() {
            return None;
        }
        let (card, changes) = self.cards().into_iter().find_map(|card| {
            let changes = self.changes(settings, &card);
            let known = self.tried.get(&card).is_some_and(|tried| {
                tried.changes == changes && (Arc::ptr_eq(&tried.settings, settings) || tried.settings == *settings)
            });
            (!changes.is_empty() && !known).then_some((card, changes))
        })?;
        let (tell, told) = channel();
        let tried = Tried { changes: changes.clone(), settings: settings.clone(), problems: Vec::new(), refused: None };
        self.asked = Some((card, tried, told));
        Some((changes, tell))
    }
}

/// The entry that a form for a new one describes.
fn added(place: &SettingPlace, drafts: &BTreeMap<String, Draft>) -> Option<SettingChange> {
    let mut keys: BTreeMap<String, SettingValue> =
        drafts.iter().filter_map(|(key, draft)| Some((key.clone(), draft.value.clone()?))).collect();
    if keys.is_empty() {
        return None;
    }
    let mut own = |key: &str| keys.remove(key).map(|value| value.shown());
    let place = match place {
        SettingPlace::Subnet { interface, .. } => {
            SettingPlace::Subnet { interface: interface.clone(), subnet: own("subnet").unwrap_or_default() }
        }
        SettingPlace::Firmware { .. } => SettingPlace::Firmware { arch: own("arch"), mac: own("mac") },
        _ => return None,
    };
    Some(SettingChange::Add { place, keys })
}

fn is_there(settings: &Settings, change: &SettingChange) -> bool {
    let SettingChange::Add { place, keys } = change else { return false };
    let there = |entry: &bootyard_core::lab::SettingEntry| {
        entry.place == *place && keys.iter().all(|(key, value)| same(entry.keys.get(key), Some(value)))
    };
    settings.entries.iter().any(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> SettingPlace {
        SettingPlace::Network { interface: "eth0".into() }
    }

    fn says(lease: &str) -> Settings {
        let text = SettingValue::text(lease);
        let keys = [("lease.default".to_owned(), text)].into();
        Settings { entries: vec![bootyard_core::lab::SettingEntry { place: network(), keys }] }
    }

    #[test]
    fn a_draft_outlives_a_change_of_the_file_and_ends_when_the_file_says_the_same() {
        let (card, mut drafts) = (Card::of(network()), Drafts::default());
        let before = says("30m");
        drafts.put(&before, &network(), "lease.default", "10m".into(), Some(SettingValue::text("10m")));
        assert_eq!(drafts.changes(&before, &card).len(), 1);
        assert_eq!(drafts.overtaken(&before, &network(), "lease.default"), None);
        let edited = says("20m");
        drafts.take(&edited, |_| true);
        assert_eq!(drafts.overtaken(&edited, &network(), "lease.default").as_deref(), Some("20m"));
        assert_eq!(drafts.get(&network(), "lease.default").unwrap().text, "10m");
        drafts.take(&says("10m"), |_| true);
        assert!(drafts.get(&network(), "lease.default").is_none());
    }

    #[test]
    fn what_is_being_typed_is_left_alone_though_the_file_says_the_same() {
        let mut drafts = Drafts::default();
        let settings = says("30m");
        drafts.put(&settings, &network(), "lease.default", "30m ".into(), Some(SettingValue::text("30m")));
        drafts.focused = Some((network(), "lease.default".into()));
        drafts.take(&settings, |_| true);
        assert_eq!(drafts.get(&network(), "lease.default").unwrap().text, "30m ");
        drafts.focused = None;
        drafts.take(&settings, |_| true);
        assert!(drafts.get(&network(), "lease.default").is_none());
    }

    #[test]
    fn another_group_takes_the_seat_away_and_a_machine_that_is_forgotten_its_drafts() {
        let host = SettingPlace::Host { host: HostId(1) };
        let (card, mut drafts) = (Card::of(host.clone()), Drafts::default());
        let keys = [("group", SettingValue::text("a")), ("seat", SettingValue::Numbers(vec![1, 2]))];
        let keys = keys.map(|(key, value)| (key.to_owned(), value)).into();
        let settings = Settings { entries: vec![bootyard_core::lab::SettingEntry { place: host.clone(), keys }] };
        let keys_of = |drafts: &Drafts| -> Vec<String> {
            drafts.changes(&settings, &card).iter().filter_map(|c| c.key().map(str::to_owned)).collect()
        };
        drafts.put(&settings, &host, "name", "x".into(), Some(SettingValue::text("x")));
        assert_eq!(keys_of(&drafts), ["name"]);
        drafts.put(&settings, &host, "group", "b".into(), Some(SettingValue::text("b")));
        assert_eq!(keys_of(&drafts), ["name", "group", "seat"]);
        drafts.put(&settings, &host, "seat", "2, 2".into(), Some(SettingValue::Numbers(vec![2, 2])));
        let changes = drafts.changes(&settings, &card);
        assert!(changes.iter().all(|c| matches!(c, SettingChange::Set { value: Some(_), .. })), "{changes:?}");
        drafts.take(&Settings::default(), |_| true);
        assert_eq!(drafts.get(&host, "name").unwrap().text, "x", "it needs no entry yet");
        drafts.take(&settings, |_| false);
        assert!(drafts.get(&host, "name").is_none());
    }

    #[test]
    fn a_trial_is_made_once_for_what_is_typed_and_again_when_the_file_changes() {
        let (card, mut drafts) = (Card::of(network()), Drafts::default());
        let settings = Arc::new(says("30m"));
        drafts.put(&settings, &network(), "lease.default", "1s".into(), Some(SettingValue::text("1s")));
        let (_, tell) = drafts.begin(&settings).unwrap();
        assert!(drafts.begin(&settings).is_none(), "one at a time");
        assert!(drafts.is_fit(&settings, &card), "nothing is known against it yet");
        let problem = SettingProblem { change: Some(0), message: "too short".into(), error: true };
        tell.send(Ok(Reply::Settings { problems: vec![problem] })).unwrap();
        drafts.take(&settings, |_| true);
        assert!(!drafts.is_fit(&settings, &card));
        assert_eq!(drafts.problems(&settings, &card, Some("lease.default")), [("too short".to_owned(), true)]);
        assert!(drafts.begin(&Arc::new(says("30m"))).is_none(), "the file says the same");
        assert!(drafts.begin(&Arc::new(says("20m"))).is_some());
    }
}
