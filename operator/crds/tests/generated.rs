//! The generated files of the repository are those that the types make now.

use std::path::Path;

#[test]
fn generated_files_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut stale = Vec::new();
    for file in throng_crds::files::all().unwrap() {
        let path = root.join(file.path);
        if std::env::var_os("THRONG_WRITE_GENERATED").is_some() {
            std::fs::write(&path, &file.text).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != file.text {
            stale.push(file.path);
        }
    }
    let command = "THRONG_WRITE_GENERATED=1 cargo test -p throng-crds --test generated";
    assert!(stale.is_empty(), "{stale:?} differ from the types; run: {command}");
}
