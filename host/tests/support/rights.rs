//! Rights of a user: ACLs, which librdkafka's Rust side has no call for, so that they are written
//! and asked for in Kafka's own words (`CreateAcls.json`, `DescribeAcls.json`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::SOON;

const DESCRIBE_ACLS: i16 = 29;
const CREATE_ACLS: i16 = 30;
/// The last version of both with fixed fields.
const VERSION: i16 = 1;
const ALLOW: i8 = 3;

/// What a right is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Kind {
    Topic = 2,
    Group = 3,
    TransactionalId = 5,
}

/// What it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Describe = 8,
    DescribeConfigs = 10,
}

/// How a name stands for resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Pattern {
    Literal = 3,
    Prefixed = 4,
}

/// One right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    pub operation: Operation,
    pub kind: Kind,
    pub name: String,
    pub pattern: Pattern,
}

impl Right {
    pub fn new(operation: Operation, kind: Kind, name: &str) -> Right {
        Right { operation, kind, name: name.to_owned(), pattern: Pattern::Literal }
    }
}

/// Gives rights to a user, and waits until the broker at this address goes by them.
pub fn allow(broker: &str, user: &str, rights: &[Right]) {
    let user = format!("User:{user}");
    let mut connection = TcpStream::connect(broker).unwrap();
    let mut body = (rights.len() as i32).to_be_bytes().to_vec();
    for right in rights {
        put_right(&mut body, right, &user);
    }
    let mut answer = &ask(&mut connection, CREATE_ACLS, &body)[THROTTLE..];
    assert_eq!(take_i32(&mut answer), rights.len() as i32);
    for right in rights {
        assert_eq!(take_i16(&mut answer), 0, "the broker refuses {right:?}");
        let text = take_i16(&mut answer);
        assert!(text <= 0, "a reason without an error");
    }
    for right in rights {
        await_known(&mut connection, right, &user);
    }
}

/// The controller has it first, a broker when it has read the controller's log.
fn await_known(connection: &mut TcpStream, right: &Right, user: &str) {
    let mut filter = Vec::new();
    put_right(&mut filter, right, user);
    let end = Instant::now() + SOON;
    loop {
        let mut answer = &ask(connection, DESCRIBE_ACLS, &filter)[THROTTLE..];
        assert_eq!(take_i16(&mut answer), 0);
        let text = take_i16(&mut answer);
        assert!(text <= 0, "a reason without an error");
        if take_i32(&mut answer) > 0 {
            return;
        }
        assert!(Instant::now() < end, "the broker does not know {right:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// As a binding, and as the filter that finds nothing else.
fn put_right(body: &mut Vec<u8>, right: &Right, user: &str) {
    body.push(right.kind as u8);
    put_text(body, &right.name);
    body.push(right.pattern as u8);
    put_text(body, user);
    put_text(body, "*");
    body.extend([right.operation as u8, ALLOW as u8]);
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as i16).to_be_bytes());
    body.extend(text.as_bytes());
}

/// Correlation id and throttle time, before what is of interest.
const THROTTLE: usize = 8;

/// Asks a question and returns the answer.
fn ask(connection: &mut TcpStream, api: i16, body: &[u8]) -> Vec<u8> {
    let mut request = [api.to_be_bytes(), VERSION.to_be_bytes()].concat();
    request.extend(0_i32.to_be_bytes());
    put_text(&mut request, "test");
    request.extend(body);
    connection.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
    connection.write_all(&request).unwrap();
    let mut size = [0; 4];
    connection.read_exact(&mut size).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    connection.read_exact(&mut answer).unwrap();
    answer
}

fn take_i16(answer: &mut &[u8]) -> i16 {
    let (taken, rest) = answer.split_first_chunk().expect("the answer is complete");
    *answer = rest;
    i16::from_be_bytes(*taken)
}

fn take_i32(answer: &mut &[u8]) -> i32 {
    let (taken, rest) = answer.split_first_chunk().expect("the answer is complete");
    *answer = rest;
    i32::from_be_bytes(*taken)
}
