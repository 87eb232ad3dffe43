use schemars::generate::SchemaSettings;

use super::raw;

/// Returns the JSON Schema of configuration files (draft 2020-12). What is valid by it may still be refused:
/// names that do not fit together, for example.
#[must_use]
pub fn schema() -> serde_json::Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<raw::Config>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../config/example.yaml");
    const SMALL: &str = "
interfaces: [{name: eth0, mode: auto}]
services: [{name: https, ports: [443/tcp, 443/udp]}]
allow: [192.0.2.0/24]
feeds: [{name: bad, path: /etc/weir/bad.netset, format: plain, action: drop}]
";

    fn accepted(text: &str) -> Result<(), String> {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        validator.validate(&value).map_err(|error| format!("{}: {error}", error.instance_path()))
    }

    #[test]
    fn the_schema_takes_what_is_valid() {
        accepted(EXAMPLE).unwrap();
        accepted(SMALL).unwrap();
    }

    #[test]
    fn the_schema_refuses_what_is_not() {
        for text in [
            SMALL.replace("auto", "fast"),
            SMALL.replace("services", "servises"),
            SMALL.replace("[192.0.2.0/24]", "192.0.2.0/24"),
            SMALL.replace("name: bad, ", ""),
            format!("{SMALL}events: {{per_second: many}}\n"),
            format!("{SMALL}l7: {{escalation: {{mode: on}}}}\n"),
        ] {
            assert!(accepted(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_schema_says_what_every_setting_is() {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others have nothing below them")]
        fn walk(at: &str, schema: &serde_json::Value, silent: &mut Vec<String>) {
            match schema {
                serde_json::Value::Object(object) => {
                    for (name, property) in
                        object.get("properties").and_then(|it| it.as_object()).into_iter().flatten()
                    {
                        if property.get("description").is_none() {
                            silent.push(format!("{at}.{name}"));
                        }
                    }
                    object.iter().for_each(|(name, value)| walk(&format!("{at}.{name}"), value, silent));
                }
                serde_json::Value::Array(values) => values.iter().for_each(|value| walk(at, value, silent)),
                _ => {}
            }
        }
        let mut silent = Vec::new();
        walk("", &schema(), &mut silent);
        assert_eq!(silent, Vec::<String>::new());
    }
}
