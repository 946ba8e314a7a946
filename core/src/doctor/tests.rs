use super::*;
use crate::lang::keys;

struct Fixed(&'static str, Duration, fn(&Facts) -> Vec<Row>);

impl Check for Fixed {
    fn name(&self) -> &'static str {
        self.0
    }

    fn limit(&self) -> Duration {
        self.1
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        (self.2)(facts)
    }
}

fn facts(dir: &std::path::Path) -> Arc<Facts> {
    Arc::new(Facts::read(dir.to_owned(), None, Arc::new(crate::net::Direct), None).unwrap())
}

fn check(name: &'static str, limit: Duration, look: fn(&Facts) -> Vec<Row>) -> Box<dyn Check> {
    Box::new(Fixed(name, limit, look))
}

/// Ends only when it is told to.
fn hang(facts: &Facts) -> Vec<Row> {
    while !facts.is_cancelled() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Vec::new()
}

#[tokio::test]
async fn a_check_that_hangs_or_breaks_is_a_row_and_delays_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let report = run(
        facts(dir.path()),
        vec![
            check("hangs", Duration::from_millis(50), hang),
            check("breaks", LIMIT, |_| panic!("on purpose")),
            check("works", LIMIT, |_| vec![row("unfinished", "", "late", State::Ok, &[])]),
        ],
    )
    .await;
    let told: Vec<_> = report.rows.iter().map(|r| (r.id.as_str(), r.case.as_str(), &r.state)).collect();
    let expected =
        [("hangs", "late", &State::Unknown), ("breaks", "broken", &State::Unknown), ("unfinished", "late", &State::Ok)];
    assert_eq!(told, expected);
    assert!(report.rows[0].seen.contains("hangs"), "{:?}", report.rows[0]);
    assert!(!report.has_failed());
}

/// Tells a row, then ends only when it is told to.
struct Slow;

impl Check for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(200)
    }

    fn look(&self, _: &Facts) -> Vec<Row> {
        unreachable!("it tells")
    }

    fn tell(&self, facts: &Facts, tell: &mut dyn FnMut(Row)) {
        tell(row("unfinished", "first", "late", State::Ok, &[]));
        hang(facts);
    }
}

#[tokio::test]
async fn what_a_late_check_had_found_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let report = run(facts(dir.path()), vec![Box::new(Slow)]).await;
    let told: Vec<_> = report.rows.iter().map(|r| (r.id.as_str(), &r.state)).collect();
    assert_eq!(told, [("unfinished:first", &State::Ok), ("slow", &State::Unknown)]);
}

#[tokio::test]
async fn whoever_stops_waiting_stops_the_checks() {
    let dir = tempfile::tempdir().unwrap();
    let facts = facts(dir.path());
    let running = run(facts.clone(), vec![check("hangs", Duration::from_secs(600), hang)]);
    assert!(tokio::time::timeout(Duration::from_millis(20), running).await.is_err());
    assert!(facts.is_cancelled());
}

#[test]
fn a_row_is_one_flat_object_with_printable_words() {
    let row = row("unfinished", "a\u{1b}b", "late", State::Unsupported("why".into()), &[("check", &"\u{202e}x\n")]);
    assert!(!row.seen.contains(['\u{202e}', '\n']) && !row.id.contains('\u{1b}'), "{row:?}");
    let json = serde_json::to_value(&row).unwrap();
    assert_eq!(
        (&json["state"], &json["reason"], &json["case"]),
        (&"unsupported".into(), &"why".into(), &"late".into())
    );
    assert_eq!(serde_json::from_value::<Row>(json).unwrap(), row);
    let ok = serde_json::to_value(Row { state: State::Ok, ..row }).unwrap();
    assert_eq!(ok["state"], "ok");
    assert!(ok.get("reason").is_none() && ok.get("fix").is_none());
}

#[test]
fn a_word_of_a_command_line_cannot_become_another_command() {
    assert_eq!(shell_word("/lab/lab.toml"), "/lab/lab.toml");
    assert_eq!(shell_word("a b'; rm -rf /"), r"'a b'\''; rm -rf /'");
    assert_eq!(shell_word(""), "''");
}

#[test]
fn every_case_says_what_was_seen_and_every_trouble_what_to_do() {
    let cases: std::collections::BTreeSet<String> =
        keys().filter_map(|k| k.strip_prefix("doctor.")?.rsplit_once('.').map(|(case, _)| case.to_owned())).collect();
    assert!(!cases.is_empty());
    for case in cases {
        let has = |part: &str| keys().any(|k| k == format!("doctor.{case}.{part}"));
        assert!(has("seen"), "{case}");
        assert_eq!(has("means"), has("remedy"), "{case} says what it means, or what to do, but not both");
    }
}
