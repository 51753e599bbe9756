//! The reference page is what the table says.

mod support;

use std::path::Path;

#[test]
fn page_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/directives.md");
    if let Err(difference) = support::compare(&file, &longwire_conf::reference()) {
        panic!("{difference}");
    }
}
