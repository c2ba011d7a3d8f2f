//! The JSON Schema and the reference.

use millstream_config::pipeline::Kind;
use millstream_config::{Pipeline, Whole, spec};
use serde_json::{Value, json};

spec! {
    /// A file.
    struct FileFields {
        /// The path.
        path: String = required,
        /// Rows of a part.
        roll_rows: Whole<1, 1000000> = default(Whole(1000)),
    }
}

spec! {
    /// The log.
    struct LogFields {
        /// The topic.
        topic: String = required,
        /// The column of the key.
        key: String = optional,
    }
}

fn kinds() -> [Kind; 2] {
    [Kind::of::<FileFields>("file"), Kind::of::<LogFields>("log")]
}

#[test]
fn the_schema_knows_the_fields() {
    let schema = Pipeline::json_schema(&kinds(), &kinds(), &kinds());
    assert_eq!(schema["required"], json!(["pipeline", "sources", "outputs"]));
    assert_eq!(schema["properties"]["epoch_max"]["default"], "50ms");
    assert_eq!(schema["properties"]["sources"]["additionalProperties"]["$ref"], "#/$defs/source");
    let file = &schema["$defs"]["source"]["oneOf"][0];
    assert_eq!(file["properties"]["type"]["const"], "file");
    assert_eq!(file["required"], json!(["type", "schema", "path"]));
    assert_eq!(file["additionalProperties"], false);
    assert_eq!(schema["$defs"]["dead_letters"]["oneOf"][1]["properties"].get("key"), None);
    assert_eq!(schema["$defs"]["output"]["oneOf"][1]["properties"]["key"]["description"], "The column of the key.");
    every_object_is_closed(&schema);
}

/// A field that the schema does not list is refused, in every object with listed fields.
fn every_object_is_closed(schema: &Value) {
    match schema {
        Value::Object(object) => {
            if object.get("properties").is_some_and(Value::is_object) && object.get("type") == Some(&json!("object")) {
                assert_eq!(object.get("additionalProperties"), Some(&json!(false)), "{object:?}");
            }
            object.values().for_each(every_object_is_closed);
        }
        Value::Array(items) => items.iter().for_each(every_object_is_closed),
        _ => {}
    }
}

#[test]
fn the_reference_has_every_field() {
    let page = Pipeline::reference_markdown(&kinds(), &kinds(), &kinds());
    for row in [
        "| `pipeline` | a name | **required** |",
        "| `epoch_max` | a duration longer than zero | `50ms` |",
        "| `delivery` | `exactly_once`, `at_least_once` or `at_most_once` | `exactly_once` |",
        "| `where` | text |  |",
        "| `roll_rows` | a whole number from 1 to 1000000 | `1000` | Rows of a part. |",
        "| `steps` | ",
    ] {
        assert!(page.contains(row), "{row}\n{page}");
    }
}

#[test]
fn every_code_has_its_page() {
    for code in millstream_config::codes::ALL
        .iter()
        .chain(millstream_core::codes::ALL.iter().filter(|c| c.id.starts_with("MS01")))
    {
        let path = format!("{}/../../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), code.id);
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(page.starts_with(&format!("# {}: {}\n", code.id, code.title)), "{path} has another heading");
        assert!((8..=40).contains(&page.lines().count()), "{path}");
    }
}
