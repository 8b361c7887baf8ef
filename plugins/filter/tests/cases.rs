//! What a user of the filter sees, where `cases/` would be too long for it.

use filter::Filter;
use pipeline_sdk::testing::{check, check_refused};
use serde_json::json;

#[test]
fn sixty_four_conditions_are_the_most() {
    let conditions =
        |count| json!({ "conditions": vec![json!({ "field": "/a", "min": 0 }); count] });
    check::<Filter>(conditions(64), json!([{ "a": 0 }, {}]), json!([{ "a": 0 }, "drop"]));
    check_refused::<Filter>(
        conditions(65),
        "/conditions: more than 64: spread them over two stages",
    );
}
