//! The JSON Schema of pipeline files, for editors.

use serde_json::{Value as Json, json};

use super::connection::ConnectionFields;
use super::output::{DeadLettersFields, OutputFields};
use super::reference::Kind;
use super::source::SourceFields;
use super::top::PipelineSpec;
use crate::spec::{FieldDoc, Spec, object_schema};

pub(super) fn json_schema(connections: &[Kind], sources: &[Kind], sinks: &[Kind]) -> Json {
    let mut schema = object_schema(PipelineSpec::DOC, &PipelineSpec::docs());
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Millstream pipeline");
    if let Some(properties) = schema["properties"].as_object_mut() {
        for (name, field) in [
            ("connections", named("connection", 0)),
            ("sources", named("source", 1)),
            ("outputs", named("output", 1)),
            ("dead_letters", json!({ "$ref": "#/$defs/dead_letters" })),
        ] {
            let description = properties.get(name).and_then(|old| old.get("description")).cloned();
            let mut field = field;
            if let Some(description) = description {
                field["description"] = description;
            }
            properties.insert(name.to_owned(), field);
        }
    }
    schema["$defs"] = json!({
        "connection": one_of(&ConnectionFields::docs(), connections),
        "source": one_of(&SourceFields::docs(), sources),
        "output": one_of(&OutputFields::docs(), sinks),
        "dead_letters": one_of(&DeadLettersFields::docs(), &sinks.iter().map(Kind::of_dead_letters).collect::<Vec<_>>()),
    });
    schema
}

fn named(definition: &str, least: usize) -> Json {
    json!({
        "type": "object",
        "minProperties": least,
        "additionalProperties": { "$ref": format!("#/$defs/{definition}") },
    })
}

/// One object for each connector: the shared fields and its own, told apart by `type`.
fn one_of(common: &[FieldDoc], kinds: &[Kind]) -> Json {
    let objects: Vec<Json> = kinds
        .iter()
        .map(|kind| {
            let shared = common.iter().filter(|field| !kind.fields.iter().any(|own| own.name == field.name));
            let fields: Vec<FieldDoc> = shared.chain(&kind.fields).cloned().collect();
            let mut object = object_schema(kind.doc, &fields);
            object["properties"]["type"] = json!({ "const": kind.name, "description": kind.doc.trim() });
            object
        })
        .collect();
    json!({ "oneOf": objects })
}
