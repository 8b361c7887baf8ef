//! The address of the admin server as an argument.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Reads `IP:PORT`; the error says the form, with what was given in it.
pub fn admin(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("expected an address and a port: {}", mended(text.trim())))
}

/// What was probably meant.
fn mended(text: &str) -> String {
    let example = SocketAddr::from((Ipv4Addr::LOCALHOST, 9600));
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return SocketAddr::new(ip, example.port()).to_string();
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let Ok(port) = port.parse::<u16>() else { return format!("such as {example}") };
    match host {
        "" | "localhost" => SocketAddr::new(example.ip(), port).to_string(),
        "*" => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).to_string(),
        _ => format!("such as 127.0.0.1:{port} (the address itself, since no name is looked up)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_lacks_a_part_is_mended_in_the_message() {
        let check = |text: &str, expected: &str| {
            let error = admin(text).expect_err("no address");
            assert_eq!(error, format!("expected an address and a port: {expected}"), "{text}");
        };
        check("9700", "127.0.0.1:9700");
        check(":9700", "127.0.0.1:9700");
        check("localhost:9700", "127.0.0.1:9700");
        check("*:9700", "0.0.0.0:9700");
        check("10.1.2.3", "10.1.2.3:9600");
        check("::1", "[::1]:9600");
        check("soon", "such as 127.0.0.1:9600");
        check("70000", "such as 127.0.0.1:9600");
        check(
            "kafka:9700",
            "such as 127.0.0.1:9700 (the address itself, since no name is looked up)",
        );
        assert_eq!(admin("[::1]:9700").map(|address| address.port()), Ok(9700));
    }
}
