use console::measure_text_width;

use super::*;

const EVENT: &str = r#"{"user_id":"424cdd21-063a-43a7-b91b-7ca1a833afae","app_version":"2.3.0","device_type":"android","ip":"199.172.111.135","locale":"RU","device_id":"593-47-5928","timestamp":"2023-09-12T00:45:51Z","processed_timestamp":"2026-01-31T12:34:56.789Z","device_category":"Mobile","anomaly":true,"anomaly_reasons":["suspicious-locale","ip-format"]}"#;

fn seen(value: &str) -> Seen<'_> {
    Seen { value: Some(value.as_bytes()), timestamp: Some(1_694_479_551_000), ..Seen::default() }
}

fn letter() -> Seen<'static> {
    let mut letter = seen("{broken\u{1b}[2J");
    letter.key = Some(b"k");
    letter.headers = vec![
        ("trace", b"abc"),
        (headers::REASON, b"invalid-json"),
        (headers::MESSAGE, b"expected a name at byte 1"),
        (headers::TOPIC, b"user-login"),
        (headers::PARTITION, b"3"),
        (headers::OFFSET, b"1234"),
        (headers::TIMESTAMP, b"1694479551000"),
    ];
    letter
}

fn bare(line: &str) -> String {
    console::strip_ansi_codes(line).into_owned()
}

const COUNT: &str = r#"{"window":"counts","start":"2023-09-12T00:45:00Z","end":"2023-09-12T00:46:00Z","key":"2.3.0","partition":3,"count":12345}"#;

/// Titles and the record.
fn shown(seen: &Seen<'_>, width: usize) -> Vec<String> {
    let lines = TerminalView::new(100).lines(seen, width);
    lines.iter().map(|line| bare(line)).collect()
}

#[test]
fn events_stand_in_columns_under_their_titles() {
    assert_eq!(
        shown(&seen(EVENT), 120),
        [
            "TIME     DEVICE   CATEGORY LOCALE VERSION      IP              USER     ANOMALY",
            "12:34:56 android  Mobile   RU     2.3.0        199.172.111.135 424cdd2… suspicious-locale, ip-format",
        ]
    );
}

#[test]
fn titles_come_with_other_columns_and_again_after_a_while() {
    let mut view = TerminalView::new(2);
    let mut count = |value: &str| view.lines(&seen(value), 120).len();
    let counts: Vec<usize> =
        [EVENT, EVENT, EVENT, "no columns", EVENT, EVENT, COUNT, EVENT].map(&mut count).into();
    assert_eq!(counts, [2, 1, 2, 1, 1, 2, 2, 2]);
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let wide = r#"{"device_type":"電話電話電話電話電話","app_version":"1","user_id":"ü"}"#;
    for width in 1..260 {
        for record in [
            seen(EVENT),
            seen(COUNT),
            seen(wide),
            seen("[1,2,3,4,5,6,7]"),
            seen("no json at all"),
            letter(),
        ] {
            for line in TerminalView::new(1).lines(&record, width) {
                assert!(measure_text_width(&line) <= width, "{width}: {line}");
            }
        }
    }
}

#[test]
fn a_narrow_terminal_keeps_what_matters_most() {
    let [titles, line] = &shown(&seen(EVENT), 30)[..] else { panic!("two lines") };
    assert_eq!(titles, "TIME     CATEGORY ANOMALY");
    assert!(line.starts_with("12:34:56 Mobile   suspicious"), "{line}");
    assert_eq!(shown(&letter(), 30), ["REASON       RECORD", "invalid-json {broken\u{fffd}[2J"]);
}

#[test]
fn other_shapes_are_shown_as_they_are() {
    let check = |value: &str, line: &str| assert_eq!(shown(&seen(value), 80), [line]);
    check("{\n  \"window\": 1,\n  \"count\": 2\n}", r#"{ "window": 1, "count": 2 }"#);
    check("42", "42");
    check("not json", "not json");
    check("", "");
    let tombstone = Seen { key: Some(b"k\n"), ..Seen::default() };
    assert_eq!(shown(&tombstone, 80), ["tombstone k\u{fffd}"]);
}

#[test]
fn missing_and_odd_members_do_not_shift_the_columns() {
    let event = r#"{"device_type":7,"user_id":null,"locale":["a"]}"#;
    assert_eq!(
        shown(&seen(event), 120)[1],
        "00:45:51 7        -        [\"a\"]  -            -               null     -"
    );
}

#[test]
fn dead_letters_say_in_columns_why_and_where_from() {
    assert_eq!(
        shown(&letter(), 80),
        [
            "TIME     SOURCE      REASON        STAGE      MESSAGE          RECORD",
            "00:45:51 3@1234      invalid-json  -          expected a name… {broken\u{fffd}[2J",
        ]
    );
    let mut late = seen(EVENT);
    late.headers = vec![(headers::REASON, b"late"), (headers::STAGE, b"counts")];
    assert_eq!(
        shown(&late, 120)[1],
        "00:45:51 -                late             counts           -                             {\"user_id\":\"424cdd21-063a-43a…"
    );
}

#[test]
fn a_dead_letter_is_coloured_and_cannot_drive_the_terminal() {
    let lines = TerminalView::new(100).lines(&letter(), 200);
    assert!(lines[1].contains("\u{1b}[31minvalid-json"), "{:?}", lines[1]);
    assert!(!lines[1].contains("\u{1b}[2J"));
}

#[test]
fn counts_of_windows_stand_in_columns_numbers_to_the_right() {
    assert_eq!(
        shown(&seen(COUNT), 75),
        [
            "START–END                    KEY              PARTITION     COUNT WINDOW",
            "2023-09-12 00:45:00–00:46:00 2.3.0                    3    12,345 counts",
        ]
    );
    assert_eq!(
        shown(&seen(COUNT), 60),
        [
            "START–END                    KEY                      COUNT",
            "2023-09-12 00:45:00–00:46:00 2.3.0                   12,345",
        ]
    );
    let week = COUNT.replace("2023-09-12T00:46:00Z", "2023-09-19T00:45:00Z");
    assert!(shown(&seen(&week), 75)[1].starts_with("2023-09-12 00:45–09-19 00:45 2.3.0"));
}

#[test]
fn a_piped_event_is_its_own_line_of_json() {
    let check = |value: &str, line: &str| assert_eq!(json_line(&seen(value)), line);
    check(EVENT, EVENT);
    check(
        "{\"b\":1.00,\"a\":12345678901234567890123}",
        "{\"b\":1.00,\"a\":12345678901234567890123}",
    );
    check("{\n\"b\": 1,\r\n  \"a\": 2.50\n}\n", r#"{ "b": 1, "a": 2.50 }"#);
    check("not json", r#""not json""#);
    check("1\n2", r#""1\n2""#);
    assert_eq!(json_line(&Seen::default()), "null");
    let bytes = Seen { value: Some(&[0xff]), ..Seen::default() };
    assert_eq!(json_line(&bytes), "\"\u{fffd}\"");
}

#[test]
fn a_piped_dead_letter_carries_reason_and_origin() {
    let line: Value = serde_json::from_str(&json_line(&letter())).expect("JSON");
    assert_eq!(
        line,
        json!({
            "reason": "invalid-json", "message": "expected a name at byte 1", "stage": null,
            "topic": "user-login", "partition": 3, "offset": 1234, "timestamp": 1_694_479_551_000_i64,
            "truncated": null, "key": "k", "value": "{broken\u{1b}[2J",
        })
    );
}

#[test]
fn filters_compare_texts_as_they_are_and_the_rest_as_json() {
    let check = |filter: &str, expected: bool| {
        let filter: Filter = filter.parse().expect("a filter");
        assert_eq!(filter.matches(&seen(EVENT)), expected, "{filter:?}");
    };
    check("device_type=android", true);
    check("device_type=Android", false);
    check("/device_type=android", true);
    check("anomaly=true", true);
    check("anomaly=false", false);
    check("anomaly_reasons=[\"suspicious-locale\",\"ip-format\"]", true);
    check("/anomaly_reasons/1=ip-format", true);
    check("app_version=2.3", false);
    check("absent=", false);
    let filter: Filter = "dead-letter-reason=invalid-json".parse().expect("a filter");
    assert!(filter.matches(&letter()));
    assert!(!filter.matches(&seen(EVENT)));
    for wrong in ["", "=", "=x", "name"] {
        assert!(wrong.parse::<Filter>().is_err(), "{wrong:?}");
    }
}
