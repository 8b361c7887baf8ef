//! A rule that looks around with WASI.

use super::{WIT, component_of};

/// A component from the core of a rule that has [`IMPORTS`].
pub fn component(core: &str) -> Vec<u8> {
    let wit: Vec<_> = [WIT].into_iter().chain(WASI.iter().copied()).collect();
    component_of(&wit, "inside", core)
}

const WASI: &[&str] = &[
    "package wasi:io@0.2.0; interface poll { resource pollable { block: func(); } }",
    "package wasi:clocks@0.2.3;
     interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
     interface monotonic-clock {
       use wasi:io/poll@0.2.0.{pollable};
       now: func() -> u64; subscribe-duration: func(when: u64) -> own<pollable>; }",
    "package wasi:random@0.2.0; interface random { get-random-u64: func() -> u64; }",
    "package wasi:cli@0.2.0; interface environment {
       get-environment: func() -> list<tuple<string, string>>; get-arguments: func() -> list<string>; }
     interface exit { exit: func(status: result); }",
    "package wasi:filesystem@0.2.0; interface types { resource descriptor; }
     interface preopens { use types.{descriptor};
       get-directories: func() -> list<tuple<descriptor, string>>; }",
    "package wasi:sockets@0.2.0;
     interface network { resource network; enum ip-address-family { ipv4, ipv6 }
       enum error-code { unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
         concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit,
         address-not-bindable, address-in-use, remote-unreachable, connection-refused, connection-reset,
         connection-aborted, datagram-too-large, name-unresolvable, temporary-resolver-failure,
         permanent-resolver-failure } }
     interface instance-network { use network.{network}; instance-network: func() -> network; }
     interface tcp { resource tcp-socket; }
     interface udp { resource udp-socket; }
     interface tcp-create-socket { use network.{error-code, ip-address-family}; use tcp.{tcp-socket};
       create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>; }
     interface udp-create-socket { use network.{error-code, ip-address-family}; use udp.{udp-socket};
       create-udp-socket: func(address-family: ip-address-family) -> result<udp-socket, error-code>; }
     interface ip-name-lookup { use network.{error-code, network}; resource resolve-address-stream;
       resolve-addresses: func(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>; }",
    "package acme:rule; world inside {
       import wasi:io/poll@0.2.0; import wasi:clocks/wall-clock@0.2.3;
       import wasi:clocks/monotonic-clock@0.2.3; import wasi:random/random@0.2.0;
       import wasi:cli/environment@0.2.0; import wasi:cli/exit@0.2.0; import wasi:filesystem/preopens@0.2.0;
       import wasi:sockets/instance-network@0.2.0; import wasi:sockets/tcp-create-socket@0.2.0;
       import wasi:sockets/udp-create-socket@0.2.0; import wasi:sockets/ip-name-lookup@0.2.0;
       export pipeline:plugin/rules@0.1.0; }",
];

/// Waits for an hour, and leaves in `$n` what it saw: bit 0 the wall clock shows `now`, bit 1 an
/// hour has passed, bit 2 there are variables, arguments, folders, sockets or names of hosts, and
/// from bit 3 on a random number of 16 bits. Exits where `now` is 13.
pub const LOOK: &str = "
    (if (i64.eq (local.get $now) (i64.const 13)) (then (call $exit (i32.const 1))))
    (call $wall (i32.const 512))
    (local.set $n (i64.eq
      (i64.add (i64.mul (i64.load (i32.const 512)) (i64.const 1000)) (i64.extend_i32_u (i32.div_u (i32.load (i32.const 520)) (i32.const 1000000))))
      (local.get $now)))
    (call $block (local.tee $at (call $wait (i64.const 3600000000000))))
    (call $drop (local.get $at))
    (local.set $n (i32.or (local.get $n) (i32.shl (i64.ge_u (call $time) (i64.const 3600000000000)) (i32.const 1))))
    (call $variables (i32.const 512)) (call $arguments (i32.const 520)) (call $folders (i32.const 528))
    (local.set $j (i32.or (i32.load (i32.const 516)) (i32.or (i32.load (i32.const 524)) (i32.load (i32.const 532)))))
    ;; TCP over IPv4, UDP over IPv6, a name: each result that is no error counts.
    (call $tcp (i32.const 0) (i32.const 512)) (call $udp (i32.const 1) (i32.const 520))
    (i32.store (i32.const 576) (i32.const 0x74736f68))
    (call $resolve (local.tee $at (call $network)) (i32.const 576) (i32.const 4) (i32.const 528))
    (call $drop_network (local.get $at))
    (local.set $at (i32.const 512))
    (loop
      (local.set $j (i32.or (local.get $j) (i32.eqz (i32.load8_u (local.get $at)))))
      (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 536))))
    (local.set $n (i32.or (local.get $n) (i32.shl (i32.ne (local.get $j) (i32.const 0)) (i32.const 2))))
    (local.set $n (i32.or (local.get $n) (i32.shl (i32.and (i32.wrap_i64 (call $random)) (i32.const 65535)) (i32.const 3))))";

pub const IMPORTS: &str = r#"
    (import "wasi:clocks/wall-clock@0.2.3" "now" (func $wall (param i32)))
    (import "wasi:clocks/monotonic-clock@0.2.3" "now" (func $time (result i64)))
    (import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $wait (param i64) (result i32)))
    (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))
    (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
    (import "wasi:cli/environment@0.2.0" "get-environment" (func $variables (param i32)))
    (import "wasi:cli/environment@0.2.0" "get-arguments" (func $arguments (param i32)))
    (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
    (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $folders (param i32)))
    (import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))
    (import "wasi:sockets/network@0.2.0" "[resource-drop]network" (func $drop_network (param i32)))
    (import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket" (func $tcp (param i32 i32)))
    (import "wasi:sockets/udp-create-socket@0.2.0" "create-udp-socket" (func $udp (param i32 i32)))
    (import "wasi:sockets/ip-name-lookup@0.2.0" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))"#;
