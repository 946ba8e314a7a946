//! The new text laid over the old one: what a change did not touch keeps its line ends, and the file its mark.

const MARK: char = '\u{feff}';

/// Without byte order mark, and lines end with `\n` alone.
pub(super) fn plain(text: &str) -> String {
    text.strip_prefix(MARK).unwrap_or(text).replace("\r\n", "\n")
}

/// The new text, with every line that is as it was taken from the old one, its line end included.
pub(super) fn splice(old: &str, new: &str) -> String {
    let bare = |line: &str| line.trim_end_matches(['\r', '\n']).to_owned();
    let (mark, old) = match old.strip_prefix(MARK) {
        Some(rest) => (MARK.to_string(), rest),
        None => (String::new(), old),
    };
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let same = |(a, b): &(&&str, &&str)| bare(a) == bare(b);
    let head = old.iter().zip(&new).take_while(same).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(same).count();
    let end = if old.first().is_some_and(|l| l.ends_with("\r\n")) { "\r\n" } else { "\n" };

    let changed = new.iter().take(new.len() - tail).skip(head).map(|line| bare(line) + end);
    let kept = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
    let lines = kept(old.get(..head).unwrap_or_default()).into_iter();
    let lines = lines.chain(changed).chain(kept(old.get(old.len() - tail..).unwrap_or_default()));
    lines.fold(mark, |mut out, line| {
        // The last line of the old text may have had no end.
        if !out.is_empty() && !out.ends_with(['\n', MARK]) {
            out.push_str(end);
        }
        out.push_str(&line);
        out
    })
}
