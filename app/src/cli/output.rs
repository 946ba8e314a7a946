//! Printing: the only place that writes to standard output and standard error. A closed pipe ends the output, not the program.

use std::io::Write;

pub(super) use crate::told::safe;

/// One line to standard output. False when nobody reads any more.
pub(super) fn line(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_ok()
}

/// An error, to standard error.
pub(super) fn error(text: &str) {
    let mut err = std::io::stderr().lock();
    let _nowhere_left_to_complain = writeln!(err, "bootyard: {}", text.trim_end());
}

/// A value as JSON: one line, or nicely broken over several.
pub(super) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Rows with aligned columns. Cells come from clients too: control characters are shown, never sent to the terminal.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) {
    let mut all: Vec<Vec<String>> = vec![head.iter().map(ToString::to_string).collect()];
    all.extend(rows.iter().map(|r| r.iter().map(|c| safe(c)).collect()));
    let widths: Vec<usize> = (0..head.len())
        .map(|i| all.iter().map(|r| r.get(i).map_or(0, |c| c.chars().count())).max().unwrap_or(0))
        .collect();
    for row in all {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("{cell:width$}  "));
        }
        line(text.trim_end());
    }
}

/// Lines of clients' words, made harmless for whoever prints them.
pub(super) fn safe_lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", safe(line))).collect()
}
