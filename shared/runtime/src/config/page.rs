//! `docs/configuration.md`, made from the comments of the configuration.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Configuration;

const HEAD: &str = "# Configuration

The workers (`modiolus-ingest`, `-filter`, `-preprocess`, `-train`, `-infer`), the review page (`modiolus-console`) and
`modiolus`, where it talks to a cluster, read one configuration. Later sources win: defaults, a file (`--config FILE`, else `modiolus.toml` in the working folder), the
environment, `--set section.key=value`. An unknown key is an error. An empty variable of the environment counts as unset, an
empty path as none.

A secret is given as itself or as a file that holds it (`..._file`), never both; it is never shown, and `--set` takes none,
since everyone on a machine can see its command lines.

This page is made from the comments in `shared/runtime/src/config.rs` and checked by a test. To make it again:
`MODIOLUS_WRITE_PAGE=1 cargo test --release -p modiolus-runtime configuration_page`.
";

/// The page.
fn page() -> String {
    let schema = schemars::schema_for!(Configuration).to_value();
    let mut page = HEAD.to_owned();
    for (section, property) in schema["properties"].as_object().expect("sections") {
        let name = property["$ref"].as_str().expect("a section of its own").rsplit('/').next();
        let fields = schema["$defs"][name.expect("a name")]["properties"].as_object().expect("keys");
        let about = sentence(property);
        write!(
            page,
            "\n## `[{section}]`\n\n{about}\n\n| key | environment | meaning |\n| --- | --- | --- |\n"
        )
        .expect("writing to memory");
        for (key, field) in fields {
            let meaning = sentence(field).replace('|', "\\|");
            let variable = format!("MODIOLUS__{section}__{key}").to_uppercase();
            writeln!(page, "| `{key}` | `{variable}` | {meaning} |").expect("writing to memory");
            check_default(key, field, &meaning);
        }
    }
    page
}

fn sentence(item: &Value) -> String {
    item["description"]
        .as_str()
        .expect("every key has a comment")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The comment has to name the default that the program has.
fn check_default(key: &str, field: &Value, meaning: &str) {
    let (_, named) = meaning.split_once("Default: ").unwrap_or_else(|| panic!("{key}: no default is named"));
    if let Some(default) = field["default"].as_str() {
        assert!(named.contains(&format!("`{default}`")), "{key}: the default is {default}");
    }
}

#[test]
fn the_configuration_page_is_the_one_that_the_comments_make() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let wanted = page();
    if std::env::var_os("MODIOLUS_WRITE_PAGE").is_some() {
        fs::write(&path, &wanted).expect("docs can be written");
    }
    let there = fs::read_to_string(&path).expect("docs/configuration.md");
    assert!(there == wanted, "docs/configuration.md is out of date: it says how to make it again");
}
