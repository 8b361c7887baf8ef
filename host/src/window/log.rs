//! Closed windows for the log: the results of this process's merge partitions as one table.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::output::key_text;
use super::{ClosedWindow, Span};

/// Groups that a table keeps apart while it waits; what comes beyond is one row, "others".
const GROUPS_MAX: usize = 10_000;
/// Tables that wait at a time; beyond, the earliest window does not wait any longer.
const WAITING_MAX: usize = 256;
/// Rows that a table shows.
const ROWS_MAX: usize = 20;
/// Characters of a group that a table shows.
const KEY_CHARS_MAX: usize = 48;

/// Gathers the results of closed windows until every merge partition of this process has passed the
/// window's end, or has been waited for long enough. For people only: what counts is in the
/// topics.
#[derive(Debug)]
pub struct ClosedLog {
    wait_ms: i64,
    /// Window and partition -> every window that ends then or before is closed.
    progress: HashMap<(String, i32), Option<i64>>,
    waiting: BTreeMap<(Span, Arc<str>), Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: i64,
    groups: HashMap<Box<str>, u64>,
    others: u64,
}

/// A closed window over the merge partitions of this process, to be shown as text of a few lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The window's name.
    pub window: String,
    /// Which stretch of event time.
    pub span: Span,
    /// Whether a merge partition of this process had not passed the window's end when the wait was
    /// over. Its groups come as another table.
    pub is_partial: bool,
    /// The groups, largest first.
    pub rows: Vec<(String, u64)>,
    /// The sum of the groups that are not in `rows`.
    pub others: u64,
}

impl ClosedLog {
    /// Waits at most so long for a partition that lags behind.
    pub fn new(wait: Duration) -> Self {
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self { wait_ms, progress: HashMap::new(), waiting: BTreeMap::new() }
    }

    /// Takes the result of one partition in. `now` is the wall clock in milliseconds.
    pub fn add(&mut self, closed: &ClosedWindow, now: i64) {
        let waiting = self
            .waiting
            .entry((closed.span, closed.window.clone()))
            .or_insert_with(|| Waiting { since: now, groups: HashMap::new(), others: 0 });
        for row in &closed.rows {
            if let Some(count) = waiting.groups.get_mut(&row.key) {
                *count += row.count;
            } else if waiting.groups.len() < GROUPS_MAX {
                waiting.groups.insert(row.key.clone(), row.count);
            } else {
                waiting.others += row.count;
            }
        }
    }

    /// A partition of this process, new or not, and how far it is:
    /// [`Merge::given_out`](super::Merge::given_out).
    pub fn progress(&mut self, window: &str, partition: i32, closed_before: Option<i64>) {
        self.progress.insert((window.to_owned(), partition), closed_before);
    }

    /// A partition that this process has no more.
    pub fn forget(&mut self, partition: i32) {
        self.progress.retain(|&(_, held), _| held != partition);
    }

    /// The tables that need not wait any longer, by time. `now` is the wall clock in milliseconds.
    pub fn take_ready(&mut self, now: i64) -> Vec<Table> {
        let surplus = self.waiting.len().saturating_sub(WAITING_MAX);
        let mut ready = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        for (place, (key, window)) in waiting.into_iter().enumerate() {
            let is_passed = self.is_passed(&key.1, key.0);
            let is_over = now.saturating_sub(window.since) >= self.wait_ms || place < surplus;
            if is_passed || is_over {
                ready.push(Table::new(key, window, !is_passed));
            } else {
                self.waiting.insert(key, window);
            }
        }
        ready
    }

    /// All tables, whatever they wait for: for the end of the process.
    pub fn take_all(&mut self) -> Vec<Table> {
        let waiting = std::mem::take(&mut self.waiting);
        let table = |(key, window): ((Span, Arc<str>), Waiting)| {
            let is_partial = !self.is_passed(&key.1, key.0);
            Table::new(key, window, is_partial)
        };
        waiting.into_iter().map(table).collect()
    }

    fn is_passed(&self, window: &str, span: Span) -> bool {
        let mut partitions = self.progress.iter().filter(|((name, _), _)| name == window);
        partitions.all(|(_, closed_before)| closed_before.is_some_and(|before| before >= span.end))
    }
}

impl Table {
    fn new((span, window): (Span, Arc<str>), waiting: Waiting, is_partial: bool) -> Self {
        let mut rows: Vec<_> = waiting.groups.into_iter().collect();
        rows.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let hidden = rows.split_off(rows.len().min(ROWS_MAX));
        let others = waiting.others + hidden.iter().map(|(_, count)| count).sum::<u64>();
        let rows = rows.into_iter().map(|(key, count)| (shown(&key_text(&key)), count)).collect();
        let window = window.to_string();
        Self { window, span, is_partial, rows, others }
    }

    /// The sum of all groups.
    pub fn total(&self) -> u64 {
        self.rows.iter().map(|(_, count)| count).sum::<u64>() + self.others
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = if self.is_partial { " (more groups follow)" } else { "" };
        write!(f, "{} {}{rest}", self.window, self.span)?;
        let total = self.total();
        let others = (self.others > 0).then_some(("others", self.others));
        let last = [("total", total)];
        let rows = self.rows.iter().map(|(key, count)| (key.as_str(), *count));
        let lines: Vec<_> = rows.chain(others).chain(last).collect();
        let width = lines.iter().map(|(key, _)| key.chars().count()).max().unwrap_or_default();
        let digits = total.to_string().len();
        for (key, count) in lines {
            write!(f, "\n  {key:<width$}  {count:>digits$}")?;
        }
        Ok(())
    }
}

/// A group as it may stand on a terminal: no control characters, no great length.
fn shown(key: &str) -> String {
    let mut chars = key.chars().flat_map(|c| {
        let escaped = if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        escaped.chars().collect::<Vec<_>>()
    });
    let mut shown: String = chars.by_ref().take(KEY_CHARS_MAX).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::*;

    fn closed(partition: i32, span: Span, rows: &[(&str, u64)]) -> ClosedWindow {
        let row = |&(key, count): &(&str, u64)| Row { key: format!("{key:?}").into(), count };
        let rows = rows.iter().map(row).collect();
        ClosedWindow { window: "counts".into(), partition, span, rows }
    }

    const FIRST: Span = Span { start: 0, end: 60_000 };

    fn log() -> ClosedLog {
        let mut log = ClosedLog::new(Duration::from_secs(10));
        log.progress("counts", 0, Some(0));
        log.progress("counts", 1, None);
        log
    }

    #[test]
    fn a_table_waits_for_every_partition_and_adds_them_up() {
        let mut log = log();
        log.progress("counts", 0, Some(60_000));
        log.add(&closed(0, FIRST, &[("2.3.0", 7), ("1.9", 100)]), 0);
        assert_eq!(log.take_ready(9_999), []);
        log.add(&closed(1, FIRST, &[("2.3.0", 3)]), 9_999);
        log.progress("counts", 1, Some(60_000));
        let tables = log.take_ready(9_999);
        let expected = "counts 1970-01-01T00:00:00Z/1970-01-01T00:01:00Z\
            \n  1.9    100\n  2.3.0   10\n  total  110";
        assert_eq!(tables.iter().map(Table::to_string).collect::<Vec<_>>(), [expected]);
        assert_eq!(log.take_ready(99_999), []);
    }

    #[test]
    fn a_partition_that_lags_is_not_waited_for_longer_than_said() {
        let mut log = log();
        log.progress("counts", 0, Some(60_000));
        log.add(&closed(0, FIRST, &[("a", 1)]), 5);
        assert_eq!(log.take_ready(10_004), []);
        let tables = log.take_ready(10_005);
        assert!(tables[0].to_string().contains("(more groups follow)"), "{}", tables[0]);
    }

    #[test]
    fn a_partition_that_was_given_up_is_not_waited_for() {
        let mut log = log();
        log.progress("counts", 0, Some(60_000));
        log.add(&closed(0, FIRST, &[("a", 1)]), 0);
        log.forget(1);
        assert_eq!(log.take_ready(0).len(), 1);
    }

    #[test]
    fn too_many_groups_and_windows_are_held_within_bounds_and_nothing_is_left_out_of_the_total() {
        let mut log = log();
        let names: Vec<_> = (0..GROUPS_MAX + 5).map(|n| format!("g{n}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        log.add(&closed(0, FIRST, &rows), 0);
        for n in 1..=WAITING_MAX as i64 {
            let span = Span { start: n * 60_000, end: (n + 1) * 60_000 };
            log.add(&closed(0, span, &[("a", 1)]), 0);
        }
        let tables = log.take_ready(0);
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].rows.len(), ROWS_MAX);
        assert_eq!(tables[0].total(), rows.len() as u64);
        assert_eq!(log.take_all().len(), WAITING_MAX);
    }

    #[test]
    fn a_group_cannot_break_the_terminal() {
        assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), KEY_CHARS_MAX + 1);
    }
}
