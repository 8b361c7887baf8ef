//! `host health`: asks a running host whether it is ready, for health checks of containers that have
//! no other program to ask with.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::ask::{AdminArgs, ask, reachable};
use super::exit::{Exit, Failure};

/// Ask a host on this machine whether it is ready (exit code 0) or not (exit code 1).
#[derive(Args, Clone)]
#[command(after_help = "\
Example:
  host health --admin 127.0.0.1:9600

Exit codes:
  0  ready
  1  not ready
  3  nobody answers there")]
pub struct HealthArgs {
    /// Which host
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// For the answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Runs the command; the text on stdout is the host's own.
pub fn run(args: &HealthArgs) -> anyhow::Result<()> {
    let address = reachable(args.admin.admin);
    let answer = ask(address, "GET", "/readyz", ANSWER_MAX).map_err(|error| {
        let message = format!("asking {address} for /readyz; is a host running there (--admin)?");
        Failure::because(Exit::Environment, message, error)
    })?;
    let text = answer.body.trim();
    if answer.code == 200 {
        // If nobody reads it, the exit code still says it.
        let _ = writeln!(std::io::stdout(), "{text}");
        Ok(())
    } else {
        Err(Failure::new(Exit::Runtime, text.to_owned()).into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    /// A server that gives one answer.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut part = [0; 1024];
                let read = stream.read(&mut part).expect("a request");
                assert!(read > 0, "the request ends too soon");
                request.extend_from_slice(&part[..read]);
            }
            assert!(request.starts_with(b"GET /readyz HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).expect("answered");
        });
        address
    }

    fn check(answer: &'static str) -> anyhow::Result<()> {
        run(&HealthArgs { admin: AdminArgs { admin: answering(answer) } })
    }

    #[test]
    fn the_status_decides_and_the_text_says_why() {
        check("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").expect("ready");
        let text = "HTTP/1.0 503 Service Unavailable\r\n\r\nnot ready: no worker has started\n";
        let error = check(text).expect_err("not ready");
        assert_eq!(error.to_string(), "not ready: no worker has started");
        assert_eq!(super::super::exit::exit_of(&error), Exit::Runtime);
    }

    #[test]
    fn nobody_there_and_something_else_there_are_the_environment() {
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address")
        };
        let error = run(&HealthArgs { admin: AdminArgs { admin: closed } }).expect_err("nobody");
        assert_eq!(super::super::exit::exit_of(&error), Exit::Environment);
        let error = check("SSH-2.0-OpenSSH\r\n").expect_err("no HTTP");
        assert_eq!(super::super::exit::exit_of(&error), Exit::Environment);
    }
}
