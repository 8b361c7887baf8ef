//! Threads that stand back: whatever is no part of the data path leaves the cores to the workers.

use std::io;

use rustix::process::{getpid, getpriority_process, setpriority_process};

/// Added to the process's own niceness.
const NICE: i32 = 10;
/// The highest niceness of Linux.
const NICE_MAX: i32 = 19;

/// Lowers the priority of the thread that calls it (on Linux each thread has its own) below that of
/// the process. A thread that was started by one which stands back stands no further back.
pub fn stand_back() -> io::Result<()> {
    // The id of the process is that of its first thread, which never stands back.
    let own = getpriority_process(Some(getpid()))?;
    Ok(setpriority_process(None, (own + NICE).min(NICE_MAX))?)
}

/// How far the thread that calls it stands behind the process.
#[cfg(test)]
pub fn behind() -> i32 {
    let of = |thread| getpriority_process(thread).expect("a thread has a priority");
    of(None) - of(Some(getpid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stands_back_once_and_so_does_what_it_starts() {
        let started = std::thread::spawn(|| {
            assert_eq!(behind(), 0);
            stand_back().expect("one may always be nice");
            let once = behind();
            let inner = std::thread::spawn(|| {
                stand_back().expect("one may always be nice");
                behind()
            });
            (once, inner.join().expect("no panic"))
        });
        let (once, inner) = started.join().expect("no panic");
        assert!(once > 0);
        assert_eq!(once, inner);
    }
}
