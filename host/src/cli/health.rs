//! `host health`: asks a running host whether it is ready, for health checks of containers that have
//! no other program to ask with.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use super::address::admin;
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
    /// Where the host serves /readyz
    #[arg(long, env = "HOST_ADMIN", value_name = "IP:PORT", default_value = "127.0.0.1:9600", value_parser = admin)]
    pub admin: SocketAddr,
}

/// For the connection, and for the answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// More of an answer is not read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Runs the command; the text on stdout is the host's own.
pub fn run(args: &HealthArgs) -> anyhow::Result<()> {
    let address = reachable(args.admin);
    let (ready, text) = ask(address).map_err(|error| {
        let message = format!("asking {address} for /readyz; is a host running there (--admin)?");
        Failure::because(Exit::Environment, message, error)
    })?;
    if ready {
        // If nobody reads it, the exit code still says it.
        let _ = writeln!(std::io::stdout(), "{}", text.trim());
        Ok(())
    } else {
        Err(Failure::new(Exit::Runtime, text.trim().to_owned()).into())
    }
}

/// A host that listens on all addresses answers on loopback too.
fn reachable(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

/// Whether it is ready, and what it says about it.
fn ask(address: SocketAddr) -> std::io::Result<(bool, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    // In one piece: who answers and closes after the first would reset the connection.
    let request = format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let code = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let Some(code) = code else {
        return Err(std::io::Error::other("the answer is not HTTP"));
    };
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((code == "200", body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

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
        run(&HealthArgs { admin: answering(answer) })
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
        let error = run(&HealthArgs { admin: closed }).expect_err("nobody");
        assert_eq!(super::super::exit::exit_of(&error), Exit::Environment);
        let error = check("SSH-2.0-OpenSSH\r\n").expect_err("no HTTP");
        assert_eq!(super::super::exit::exit_of(&error), Exit::Environment);
    }

    #[test]
    fn all_addresses_means_loopback() {
        let check = |from: &str, to: &str| {
            let from = from.parse().expect("an address");
            assert_eq!(reachable(from).to_string(), to);
        };
        check("0.0.0.0:9600", "127.0.0.1:9600");
        check("[::]:9600", "[::1]:9600");
        check("10.1.2.3:9600", "10.1.2.3:9600");
    }
}
