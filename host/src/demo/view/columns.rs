//! Cells in columns: which columns fit a terminal, how wide each is, and the line that they make.

use anstyle::{Effects, Style};
use console::{measure_text_width, truncate_str};
use serde_json::Value;

use super::{Seen, cut, harmless, paint};

pub(super) const PLAIN: Style = Style::new();
pub(super) const DIM: Style = Style::new().effects(Effects::DIMMED);

/// What a cell is made of.
pub(super) struct Row<'a> {
    /// The record.
    pub seen: &'a Seen<'a>,
    /// Its value as JSON, `null` if it is none.
    pub event: &'a Value,
}

/// A column of a terminal view. Columns of a high rank go first where the terminal is narrow.
#[derive(Debug)]
pub(super) struct Column {
    pub title: &'static str,
    /// Cells, at least.
    pub width: usize,
    /// Cells that it may take of those that are left over; the last column may take all.
    pub width_max: usize,
    pub rank: u8,
    pub is_number: bool,
    pub show: fn(&Row<'_>) -> (String, Style),
}

impl Column {
    /// A column of a fixed width.
    pub const fn new(
        title: &'static str,
        width: usize,
        rank: u8,
        show: fn(&Row<'_>) -> (String, Style),
    ) -> Self {
        Self { title, width, width_max: width, rank, is_number: false, show }
    }

    /// The same that grows with the terminal.
    pub const fn up_to(self, width_max: usize) -> Self {
        Self { width_max, ..self }
    }

    /// The same with its cells to the right.
    pub const fn number(self) -> Self {
        Self { is_number: true, ..self }
    }
}

/// The titles of the columns that fit.
pub(super) fn titles(columns: &[Column], width: usize) -> String {
    line(columns, width, |column| (column.title.to_owned(), DIM))
}

/// The cells of a record, under their titles.
pub(super) fn cells(columns: &[Column], width: usize, row: &Row<'_>) -> String {
    line(columns, width, |column| (column.show)(row))
}

fn line(columns: &[Column], width: usize, cell: impl Fn(&Column) -> (String, Style)) -> String {
    let mut line = String::new();
    let mut fitting = fitting(columns, width).into_iter().peekable();
    while let Some((column, cells)) = fitting.next() {
        let (text, style) = cell(column);
        let text = harmless(&text);
        let is_last = fitting.peek().is_none();
        // The last column may take all that is left.
        let text = if is_last { text.into() } else { truncate_str(&text, cells, "…") };
        let pad = " ".repeat(cells.saturating_sub(measure_text_width(&text)));
        let painted = paint(&text, style);
        match (column.is_number, is_last) {
            (true, true) => line.extend([pad, painted]),
            (true, false) => line.extend([pad, painted, " ".to_owned()]),
            (false, true) => line.push_str(&painted),
            (false, false) => line.extend([painted, pad, " ".to_owned()]),
        }
    }
    cut(line.trim_end(), width)
}

/// The columns that fit, each with its width: what is left over goes to those that may grow, a cell
/// each in turn.
fn fitting(columns: &[Column], width: usize) -> Vec<(&Column, usize)> {
    let of_rank = |rank: u8| columns.iter().filter(move |column| column.rank <= rank);
    let needs = |rank: u8| of_rank(rank).map(|column| column.width + 1).sum::<usize>();
    let rank_max = columns.iter().map(|column| column.rank).max().unwrap_or(0);
    let rank = (0..=rank_max).rev().find(|&rank| needs(rank) <= width).unwrap_or(0);
    let mut fitting: Vec<_> = of_rank(rank).map(|column| (column, column.width)).collect();
    let mut left = width.saturating_sub(needs(rank));
    while left > 0 {
        let before = left;
        for (column, cells) in &mut fitting {
            if left > 0 && *cells < column.width_max {
                *cells += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    fitting
}
