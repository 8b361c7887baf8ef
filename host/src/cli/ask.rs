//! Asks a running host over its admin address.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use super::address::admin;

/// For the connection, and for the request to be taken.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// More of an answer is not read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Which running host to ask.
#[derive(Args, Clone, Debug)]
pub struct AdminArgs {
    /// Where the host serves metrics, health and status
    #[arg(
        long,
        env = "HOST_ADMIN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9600",
        value_parser = admin
    )]
    pub admin: SocketAddr,
}

/// What it says.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status code of HTTP.
    pub code: u16,
    /// The text.
    pub body: String,
}

/// A host that listens on all addresses answers on loopback too.
pub(super) fn reachable(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

/// Asks, and waits so long for each part of the answer.
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    answer_max: Duration,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
    stream.set_read_timeout(Some(answer_max))?;
    stream.set_write_timeout(Some(CONNECT_MAX))?;
    // In one piece: who answers and closes after the first would reset the connection.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let code = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    let Some(code) = code else { return Err(io::Error::other("the answer is not HTTP")) };
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(Answer { code, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

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
