//! The tables of lab.db and their SQL.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, ErrorCode, Row, Rows, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::journal::{self, Changes};
use super::writer::Pending;
use super::{ConfirmedInterface, DbError, EVENTS_KEPT, EpochRecord, HostRecord, JobRecord};
use crate::api::{Event, HostId, ProxyStyle};
use crate::hosts::{BOOTS_KEPT, BootRecord};
use crate::lab::lease::{LeaseRecord, LeaseState};

/// How long one connection waits for the other.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Each brings lab.db from the form of its index to the next; the form is `user_version`.
const STEPS: &[&str] = &["
    CREATE TABLE leases (
        address TEXT PRIMARY KEY, mac TEXT NOT NULL, uuid TEXT, hostname TEXT, state TEXT NOT NULL, expires TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE hosts (id INTEGER PRIMARY KEY, record TEXT NOT NULL);
    CREATE TABLE epochs (host INTEGER PRIMARY KEY, record TEXT NOT NULL);
    CREATE TABLE events (seq INTEGER PRIMARY KEY, record TEXT NOT NULL);
    CREATE TABLE confirmed (mac TEXT NOT NULL, machine TEXT NOT NULL, PRIMARY KEY (mac, machine)) WITHOUT ROWID;
    CREATE TABLE jobs (id INTEGER PRIMARY KEY, record TEXT NOT NULL);
", "
    CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO numbers SELECT 'host', coalesce(max(id), 0) FROM hosts;
", "
    CREATE TABLE lease_journal (n INTEGER PRIMARY KEY, records BLOB NOT NULL);
", "
    CREATE TABLE proxy_styles (model TEXT PRIMARY KEY, style TEXT NOT NULL) WITHOUT ROWID;
", "
    CREATE TABLE boots (host INTEGER NOT NULL, began INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (host, began))
        WITHOUT ROWID;
"];

fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// The form of a database; 0 for one that is empty.
pub(super) fn version(conn: &Connection, path: &Path) -> Result<i64, DbError> {
    let found: i64 =
        conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|e| DbError::of("open", path, &e))?;
    if found > newest() || found < 0 {
        return Err(DbError::Newer { path: path.display().to_string(), found, known: newest() });
    }
    Ok(found)
}

/// Checks a database and brings it to the newest form.
pub(super) fn prepare(conn: &mut Connection, path: &Path) -> Result<(), DbError> {
    let error = |e: rusqlite::Error| DbError::of("open", path, &e);
    conn.busy_timeout(PATIENCE).map_err(error)?;
    let found = version(conn, path)?;
    let health: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(error)?;
    if health != "ok" {
        return Err(DbError::Damaged { path: path.display().to_string(), detail: health });
    }
    // The log is folded in early, so that it fits into the reserve.
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 128;
         PRAGMA journal_size_limit = 524288;",
    )
    .map_err(error)?;
    for (n, step) in STEPS.iter().enumerate().skip(usize::try_from(found).unwrap_or_default()) {
        let tx = conn.transaction().map_err(error)?;
        tx.execute_batch(step).map_err(error)?;
        tx.execute_batch(&format!("PRAGMA user_version = {}", n + 1)).map_err(error)?;
        tx.commit().map_err(error)?;
    }
    // What a killed process left in the journal. Where the disk is full it is as good there.
    let tidied = fold(conn).and_then(|()| prune(conn));
    tidied.or_else(|e| if e.sqlite_error_code() == Some(ErrorCode::DiskFull) { Ok(()) } else { Err(error(e)) })
}

/// [`fold_journal`] in a transaction of its own.
pub(super) fn fold(conn: &mut Connection) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    fold_journal(&tx)?;
    tx.commit()
}

/// Bytes in the journal.
pub(super) fn journal_bytes(conn: &Connection) -> rusqlite::Result<usize> {
    let bytes: i64 =
        conn.query_row("SELECT coalesce(sum(length(records)), 0) FROM lease_journal", [], |row| row.get(0))?;
    Ok(usize::try_from(bytes).unwrap_or_default())
}

/// Leaves the newest events.
pub(super) fn prune(conn: &Connection) -> rusqlite::Result<()> {
    let kept = i64::try_from(EVENTS_KEPT).unwrap_or(i64::MAX);
    conn.execute("DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?1", [kept])?;
    Ok(())
}

/// Writes leases and epochs, without which a machine could lose its address or its disk. Leases go to the end of the journal, all in
/// one row; its bytes.
pub(super) fn write_vital(tx: &Transaction<'_>, pending: &Pending) -> rusqlite::Result<usize> {
    let records = journal::encode(&pending.leases);
    if !records.is_empty() {
        tx.prepare_cached("INSERT INTO lease_journal (records) VALUES (?1)")?.execute([&records])?;
    }
    for (host, epoch) in &pending.epochs {
        put(tx, "epochs", "host", host.0, epoch.as_ref())?;
    }
    Ok(records.len())
}

/// Puts what is in the journal into the table of leases, the newest record of each address.
fn fold_journal(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    for (address, lease) in journal(tx)? {
        match lease {
            Some(lease) => put_lease(tx, &lease)?,
            None => {
                tx.prepare_cached("DELETE FROM leases WHERE address = ?1")?.execute([address.to_string()])?;
            }
        }
    }
    tx.execute("DELETE FROM lease_journal", [])?;
    Ok(())
}

/// What the journal says of each address that is in it.
fn journal(conn: &Connection) -> rusqlite::Result<Changes> {
    let mut statement = conn.prepare_cached("SELECT records FROM lease_journal ORDER BY n")?;
    let mut rows = statement.query([])?;
    let mut changes = Changes::new();
    while let Some(row) = rows.next()? {
        let records = row.get_ref(0)?.as_blob()?;
        journal::decode(records, &mut changes)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, e.into()))?;
    }
    Ok(changes)
}

/// Writes the rest.
pub(super) fn write_rest(tx: &Transaction<'_>, pending: &Pending) -> rusqlite::Result<()> {
    for (id, host) in &pending.hosts {
        put(tx, "hosts", "id", id.0, host.as_ref())?;
        tx.prepare_cached("UPDATE numbers SET value = max(value, ?1) WHERE name = 'host'")?
            .execute([id.0.cast_signed()])?;
    }
    for (id, _) in pending.hosts.iter().filter(|(_, host)| host.is_none()) {
        tx.prepare_cached("DELETE FROM boots WHERE host = ?1")?.execute([id.0.cast_signed()])?;
    }
    for ((host, began), boot) in &pending.boots {
        put_boot(tx, *host, *began, boot)?;
    }
    for event in &pending.events {
        put(tx, "events", "seq", event.seq, Some(event))?;
    }
    for (mac, machine) in &pending.confirmed {
        tx.prepare_cached("INSERT OR IGNORE INTO confirmed VALUES (?1, ?2)")?
            .execute(params![mac.to_string(), machine])?;
    }
    for (model, style) in &pending.styles {
        tx.prepare("INSERT OR REPLACE INTO proxy_styles VALUES (?1, ?2)")?
            .execute(params![model, style_word(*style)])?;
    }
    for (id, job) in &pending.jobs {
        match job {
            Some(json) => tx
                .prepare_cached("INSERT OR REPLACE INTO jobs VALUES (?1, ?2)")?
                .execute(params![id.cast_signed(), json])?,
            None => tx.prepare_cached("DELETE FROM jobs WHERE id = ?1")?.execute([id.cast_signed()])?,
        };
    }
    Ok(())
}

/// Puts or deletes one record of a table that holds JSON by number.
fn put(tx: &Transaction<'_>, table: &str, key: &str, id: u64, record: Option<&impl Serialize>) -> rusqlite::Result<()> {
    match record {
        Some(record) => {
            let json = serde_json::to_string(record).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
            let sql = format!("INSERT OR REPLACE INTO {table} ({key}, record) VALUES (?1, ?2)");
            tx.prepare_cached(&sql)?.execute(params![id.cast_signed(), json])?;
        }
        None => {
            tx.prepare_cached(&format!("DELETE FROM {table} WHERE {key} = ?1"))?.execute([id.cast_signed()])?;
        }
    }
    Ok(())
}

/// Puts a boot, and leaves the newest of its machine.
fn put_boot(tx: &Transaction<'_>, host: HostId, began: Timestamp, boot: &BootRecord) -> rusqlite::Result<()> {
    let json = serde_json::to_string(boot).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    let (host, kept) = (host.0.cast_signed(), i64::try_from(BOOTS_KEPT).unwrap_or(i64::MAX));
    tx.prepare_cached("INSERT OR REPLACE INTO boots (host, began, record) VALUES (?1, ?2, ?3)")?.execute(params![
        host,
        began.as_millisecond(),
        json
    ])?;
    tx.prepare_cached(
        "DELETE FROM boots WHERE host = ?1 AND began <=
         (SELECT began FROM boots WHERE host = ?1 ORDER BY began DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute([host, kept])?;
    Ok(())
}

fn put_lease(tx: &Transaction<'_>, lease: &LeaseRecord) -> rusqlite::Result<()> {
    let state = match lease.state {
        LeaseState::Bound => "bound",
        LeaseState::Released => "released",
        LeaseState::Declined => "declined",
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO leases (address, mac, uuid, hostname, state, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        lease.address.to_string(),
        lease.mac.to_string(),
        lease.uuid.map(|u| u.to_string()),
        lease.hostname,
        state,
        lease.expires.to_string(),
    ])?;
    Ok(())
}

/// A column that holds a type's text form.
fn text<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|e: T::Err| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e.into()))
}

/// What cannot be read, each with its table, its key and why.
pub(super) type Unread = BTreeSet<String>;

/// The rows that `read` can read. One that it cannot, because a person wrote it or another version of the program, is left out and
/// noted: the others are as good as before.
fn readable<T>(
    table: &str,
    mut rows: Rows<'_>,
    unread: &mut Unread,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(read) => all.push(read),
            Err(error) => {
                let key = match row.get_ref(0)? {
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect(),
                    other => format!("of type {}", other.data_type()),
                };
                unread.insert(format!("{table} {key}: {error}"));
            }
        }
    }
    Ok(all)
}

/// Every lease: the table's, and what the journal says since.
pub(super) fn leases(conn: &Connection, unread: &mut Unread) -> rusqlite::Result<Vec<LeaseRecord>> {
    // One view of both, so that a fold meanwhile takes nothing away.
    let view = conn.unchecked_transaction()?;
    let mut leases: Changes = folded_leases(&view, unread)?.into_iter().map(|l| (l.address, Some(l))).collect();
    leases.extend(journal(&view)?);
    Ok(leases.into_values().flatten().collect())
}

fn folded_leases(conn: &Connection, unread: &mut Unread) -> rusqlite::Result<Vec<LeaseRecord>> {
    let mut statement = conn.prepare("SELECT address, mac, uuid, hostname, state, expires FROM leases")?;
    readable("leases", statement.query([])?, unread, |row| {
        let uuid: Option<String> = row.get(2)?;
        let state: String = row.get(4)?;
        Ok(LeaseRecord {
            address: text::<Ipv4Addr>(row, 0)?,
            mac: text(row, 1)?,
            uuid: uuid.and_then(|u| u.parse().ok()),
            hostname: row.get(3)?,
            state: match state.as_str() {
                "bound" => LeaseState::Bound,
                "released" => LeaseState::Released,
                _ => LeaseState::Declined,
            },
            expires: text::<Timestamp>(row, 5)?,
        })
    })
}

/// The records of a table that holds JSON by number.
fn records<T: DeserializeOwned>(
    conn: &Connection,
    (table, key): (&str, &str),
    unread: &mut Unread,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = conn.prepare(&format!("SELECT {key}, record FROM {table} ORDER BY {key}"))?;
    readable(table, statement.query([])?, unread, |row| {
        let json: String = row.get(1)?;
        serde_json::from_str(&json).map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, e.into()))
    })
}

pub(super) fn hosts(conn: &Connection, unread: &mut Unread) -> rusqlite::Result<Vec<HostRecord>> {
    records(conn, ("hosts", "id"), unread)
}

pub(super) fn epochs(conn: &Connection, unread: &mut Unread) -> rusqlite::Result<Vec<EpochRecord>> {
    records(conn, ("epochs", "host"), unread)
}

pub(super) fn recent_events(conn: &Connection, limit: usize) -> rusqlite::Result<Vec<Event>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = conn.prepare("SELECT record FROM events ORDER BY seq DESC LIMIT ?1")?;
    let rows = statement.query_map([limit], |row| row.get::<_, String>(0))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    // History outlives versions of the program: a kind that is no longer known is left out.
    Ok(rows.iter().rev().filter_map(|json| serde_json::from_str(json).ok()).collect())
}

pub(super) fn events_of(conn: &Connection, host: HostId, limit: usize) -> rusqlite::Result<Vec<Event>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement =
        conn.prepare("SELECT record FROM events WHERE json_extract(record, '$.host') = ?1 ORDER BY seq DESC LIMIT ?2")?;
    let rows = statement.query_map([host.0.cast_signed(), limit], |row| row.get::<_, String>(0))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.iter().rev().filter_map(|json| serde_json::from_str(json).ok()).collect())
}

/// A machine's boots, the newest first. What another version wrote otherwise is left out.
pub(super) fn boots_of(conn: &Connection, host: HostId) -> rusqlite::Result<Vec<BootRecord>> {
    let mut statement = conn.prepare("SELECT record FROM boots WHERE host = ?1 ORDER BY began DESC")?;
    let rows = statement.query_map([host.0.cast_signed()], |row| row.get::<_, String>(0))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.iter().filter_map(|json| serde_json::from_str(json).ok()).collect())
}

pub(super) fn last_seq(conn: &Connection) -> rusqlite::Result<u64> {
    let seq: Option<i64> = conn.query_row("SELECT max(seq) FROM events", [], |row| row.get(0))?;
    Ok(seq.unwrap_or_default().cast_unsigned())
}

pub(super) fn last_host(conn: &Connection) -> rusqlite::Result<HostId> {
    let id: i64 = conn.query_row("SELECT value FROM numbers WHERE name = 'host'", [], |row| row.get(0))?;
    Ok(HostId(id.cast_unsigned()))
}

pub(super) fn confirmed(conn: &Connection, unread: &mut Unread) -> rusqlite::Result<Vec<ConfirmedInterface>> {
    let mut statement = conn.prepare("SELECT mac, machine FROM confirmed")?;
    readable("confirmed", statement.query([])?, unread, |row| {
        Ok(ConfirmedInterface { mac: text(row, 0)?, machine: row.get(1)? })
    })
}

fn style_word(style: ProxyStyle) -> &'static str {
    match style {
        ProxyStyle::File => "file",
        ProxyStyle::BootServer => "boot-server",
    }
}

/// What a later version may have written otherwise is left out.
pub(super) fn styles(conn: &Connection) -> rusqlite::Result<HashMap<String, ProxyStyle>> {
    let mut statement = conn.prepare("SELECT model, style FROM proxy_styles")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let known = |(model, word): (String, String)| {
        let style = [ProxyStyle::File, ProxyStyle::BootServer].into_iter().find(|style| style_word(*style) == word)?;
        Some((model, style))
    };
    rows.filter_map(|row| row.map(known).transpose()).collect()
}

pub(super) fn jobs(conn: &Connection) -> rusqlite::Result<Vec<JobRecord>> {
    let mut statement = conn.prepare("SELECT id, record FROM jobs ORDER BY id")?;
    let rows = statement
        .query_map([], |row| Ok(JobRecord { id: row.get::<_, i64>(0)?.cast_unsigned(), json: row.get(1)? }))?;
    rows.collect()
}
