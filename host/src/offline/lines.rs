//! Lines of a stream, in batches: as large as they get without making anyone wait who writes slowly.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memchr;

use super::BATCH_RECORDS;
use crate::chain::Record;

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that are read ahead; then the reader waits, and whoever writes to it.
const CHUNKS_AHEAD: usize = 4;
/// A batch with so many bytes is full, as with the `batch-bytes` that ship.
const BATCH_BYTES: usize = 4 << 20;
/// How long a batch waits for more lines from its first one on, as `batch-wait`.
const BATCH_WAIT: Duration = Duration::from_millis(5);
/// A longer line is an error: whatever it is, it is no record.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Why there are no more lines.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The stream cannot be read.
    #[error("reading the events")]
    Read(#[source] io::Error),
    /// It is no stream of lines.
    #[error(
        "line {0} has more than {max} MiB: write each record in one line of its own",
        max = LINE_BYTES_MAX >> 20
    )]
    TooLong(i64),
}

/// Lines that are read ahead on a thread of its own, which ends with its stream.
pub struct Lines {
    chunks: Receiver<io::Result<Vec<u8>>>,
    bytes: Vec<u8>,
    /// Where in `bytes` the first line begins that was not given out.
    begin: usize,
    /// How far no line ends from there on.
    searched: usize,
    found: Vec<(i64, Range<usize>)>,
    /// The number of the line at `begin`, from 0.
    line: i64,
    is_at_end: bool,
}

/// Some lines, none of them empty.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    lines: &'a [(i64, Range<usize>)],
}

impl Lines {
    /// Begins to read.
    pub fn new(mut stream: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
        thread::Builder::new().name("lines".to_owned()).spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = match stream.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(count) => {
                        chunk.truncate(count);
                        Ok(chunk)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let is_over = read.is_err();
                if sender.send(read).is_err() || is_over {
                    return;
                }
            }
        })?;
        Ok(Self {
            chunks,
            bytes: Vec::new(),
            begin: 0,
            searched: 0,
            found: Vec::with_capacity(BATCH_RECORDS),
            line: 0,
            is_at_end: false,
        })
    }

    /// The next lines; none at the end. Waits for the first of them, and not for a full batch.
    pub fn next_batch(&mut self) -> Result<Option<Batch<'_>>, LinesError> {
        self.bytes.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.found.clear();
        let mut waits_until = None;
        while !self.search() && !self.is_at_end {
            let chunk = if self.found.is_empty() {
                self.chunks.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                let until = *waits_until.get_or_insert_with(|| Instant::now() + BATCH_WAIT);
                self.chunks.recv_timeout(until.saturating_duration_since(Instant::now()))
            };
            match chunk {
                Ok(Ok(chunk)) => self.bytes.extend_from_slice(&chunk),
                Ok(Err(error)) => return Err(LinesError::Read(error)),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => self.is_at_end = true,
            }
            if self.bytes.len() - self.begin > LINE_BYTES_MAX + CHUNK_BYTES {
                return Err(LinesError::TooLong(self.line + 1));
            }
        }
        if self.is_at_end && self.found.len() < BATCH_RECORDS && self.searched == self.bytes.len() {
            self.end_line(self.bytes.len());
            self.begin = self.bytes.len();
        }
        let batch = Batch { bytes: &self.bytes, lines: &self.found };
        Ok((!self.found.is_empty()).then_some(batch))
    }

    /// Looks for lines in what has been read; the answer says whether the batch is full.
    fn search(&mut self) -> bool {
        while self.found.len() < BATCH_RECORDS && self.begin < BATCH_BYTES {
            match memchr(b'\n', &self.bytes[self.searched..]) {
                Some(place) => {
                    let end = self.searched + place;
                    self.end_line(end);
                    (self.begin, self.searched) = (end + 1, end + 1);
                }
                None => {
                    self.searched = self.bytes.len();
                    return false;
                }
            }
        }
        true
    }

    fn end_line(&mut self, end: usize) {
        if !self.bytes[self.begin..end].trim_ascii().is_empty() {
            self.found.push((self.line, self.begin..end));
        }
        self.line += 1;
    }
}

impl<'a> Batch<'a> {
    /// The lines as records of partition 0, the offset being the number of the line from 0, and the
    /// timestamp the time of processing.
    pub fn records(self, now: i64) -> Vec<Record<'a>> {
        let record = |(line, range): &(i64, Range<usize>)| Record {
            key: None,
            value: Some(&self.bytes[range.clone()]),
            headers: &[],
            timestamp: Some(now),
            partition: 0,
            offset: *line,
        };
        self.lines.iter().map(record).collect()
    }

    /// How many bytes the lines have.
    pub fn bytes(self) -> u64 {
        self.lines.iter().map(|(_, range)| range.len() as u64 + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out so many bytes at a time.
    struct Slow(Vec<u8>, usize);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    fn all(text: &str, step: usize) -> (Vec<(i64, String)>, Vec<usize>) {
        let mut lines = Lines::new(Slow(text.as_bytes().to_vec(), step)).expect("a thread");
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        while let Some(batch) = lines.next_batch().expect("lines") {
            let records = batch.records(0);
            sizes.push(records.len());
            all.extend(records.iter().map(|record| {
                let value = record.value.unwrap_or_default();
                (record.offset, String::from_utf8_lossy(value).into_owned())
            }));
        }
        (all, sizes)
    }

    #[test]
    fn lines_keep_their_numbers_wherever_reads_end() {
        let line = |number, text: &str| (number, text.to_owned());
        let expected = [line(0, "a"), line(2, "bcd"), line(4, "e")];
        for step in 1..10 {
            assert_eq!(all("a\n\nbcd\n \ne", step).0, expected, "{step}");
            assert_eq!(all("a\n\nbcd\n\ne\n", step).0, expected, "{step}");
        }
        assert_eq!(all("", 1).0, []);
        assert_eq!(all("\n\n", 1).0, []);
    }

    #[test]
    fn a_batch_has_its_limit_and_the_rest_comes_in_the_next() {
        let text = "x\n".repeat(2 * BATCH_RECORDS + 1) + "y";
        let (lines, sizes) = all(&text, CHUNK_BYTES);
        assert_eq!(lines.len(), 2 * BATCH_RECORDS + 2);
        assert_eq!(sizes, [BATCH_RECORDS, BATCH_RECORDS, 2]);
        assert_eq!(lines.last(), Some(&(2 * BATCH_RECORDS as i64 + 1, "y".to_owned())));
    }
}
