//! The terminal that the live view and the log share: lines scroll above a block that stays. Plain
//! lines and three escape sequences, so that whatever happens the terminal is left usable.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::{Term, measure_text_width};

/// The block on the screen, while there is one. The log is set up before anybody knows whether
/// there will be, so they meet here.
static BLOCK: Mutex<Option<Block>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Block>> {
    BLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines at the lower end of a terminal; the cursor stays behind the last one.
#[derive(Debug, Default)]
struct Block {
    lines: Vec<String>,
    /// Whether they are on the screen.
    drawn: bool,
}

impl Block {
    /// What takes the block off a terminal of so many columns, which may have been more when it was
    /// drawn: longer lines have been wrapped since.
    fn erase(&mut self, columns: usize, out: &mut String) {
        if !std::mem::take(&mut self.drawn) {
            return;
        }
        let columns = columns.max(1);
        let rows: usize =
            self.lines.iter().map(|line| measure_text_width(line).div_ceil(columns).max(1)).sum();
        if rows > 1 {
            // Writing to a text cannot fail.
            let _ = write!(out, "\u{1b}[{}A", rows - 1);
        }
        out.push_str("\r\u{1b}[J");
    }

    fn draw(&mut self, out: &mut String) {
        if !self.lines.is_empty() {
            out.push_str(&self.lines.join("\r\n"));
            self.drawn = true;
        }
    }

    /// What puts whole lines above the block.
    fn above(&mut self, text: &str, columns: usize) -> String {
        let mut out = String::with_capacity(text.len() + 512);
        self.erase(columns, &mut out);
        out.push_str(text);
        if !text.is_empty() && !text.ends_with('\n') {
            out.push_str("\r\n");
        }
        self.draw(&mut out);
        out
    }
}

fn columns() -> usize {
    usize::from(Term::stderr().size().1)
}

/// Where log lines go: stderr, above the block if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogWriter;

/// What `tracing_subscriber::fmt().with_writer` takes.
pub fn log_writer() -> LogWriter {
    LogWriter
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut *lock() {
            Some(block) => {
                let text = block.above(&String::from_utf8_lossy(bytes), columns());
                io::stderr().write_all(text.as_bytes())
            }
            None => io::stderr().write_all(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether stderr is a terminal on which a block can be redrawn.
pub fn can_show() -> bool {
    io::stderr().is_terminal() && !console::is_dumb()
}

/// The screen with a block; there is one at a time. Dropping it takes the block away and leaves the
/// rest.
#[derive(Debug)]
pub struct Screen {
    colours: bool,
}

impl Screen {
    /// An empty block at the lower end of the terminal.
    pub fn new() -> Self {
        *lock() = Some(Block::default());
        let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        Self { colours }
    }

    /// How wide a line may be now: a cell less than the terminal, since a full line makes some
    /// terminals wrap.
    pub fn width(&self) -> usize {
        columns().saturating_sub(1).max(1)
    }

    /// A line above the block.
    pub fn line(&self, text: &str) {
        let text = self.coloured(text);
        self.write(|block| block.above(&text, columns()));
    }

    /// New contents of the block, a line each, none wider than [`Self::width`]. Those for which the
    /// terminal is too low are left out.
    pub fn set_block(&self, lines: &[String]) {
        let rows = usize::from(Term::stderr().size().0).saturating_sub(1).max(1);
        let lines = lines.iter().take(rows).map(|line| self.coloured(line)).collect();
        self.write(|block| {
            let mut out = String::new();
            block.erase(columns(), &mut out);
            block.lines = lines;
            block.draw(&mut out);
            out
        });
    }

    fn write(&self, make: impl FnOnce(&mut Block) -> String) {
        if let Some(block) = &mut *lock() {
            // In one piece, so that nothing flickers. A terminal that went away is noticed by
            // whoever reads its signals.
            let _ = io::stderr().write_all(make(block).as_bytes());
        }
    }

    fn coloured(&self, text: &str) -> String {
        if self.colours { text.to_owned() } else { console::strip_ansi_codes(text).into_owned() }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(mut block) = lock().take() {
            let mut out = String::new();
            block.erase(columns(), &mut out);
            let _ = io::stderr().write_all(out.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(lines: &[&str]) -> Block {
        Block { lines: lines.iter().map(|line| (*line).to_owned()).collect(), drawn: false }
    }

    #[test]
    fn lines_go_above_the_block_which_is_drawn_again() {
        let mut block = block(&["one", "two"]);
        assert_eq!(block.above("event", 80), "event\r\none\r\ntwo");
        assert_eq!(block.above("log\n", 80), "\u{1b}[1A\r\u{1b}[Jlog\none\r\ntwo");
    }

    #[test]
    fn a_block_that_was_wrapped_by_a_narrower_terminal_is_erased_whole() {
        let mut block = block(&["\u{1b}[1mtwelve cells\u{1b}[0m", "", "six ce"]);
        block.above("", 80);
        // 3 rows of 5, an empty one, 2 rows of 5.
        assert_eq!(block.above("x", 5).split('x').next(), Some("\u{1b}[5A\r\u{1b}[J"));
    }

    #[test]
    fn an_empty_block_leaves_lines_as_they_are() {
        assert_eq!(block(&[]).above("event\n", 80), "event\n");
    }
}
