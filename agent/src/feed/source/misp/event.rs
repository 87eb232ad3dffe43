use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use crate::feed::source::intake::network;

/// What an event names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) networks: Vec<IpNet>,
    /// Attributes that should be addresses and are none.
    pub(super) malformed: usize,
    /// How the first of them starts.
    pub(super) first_malformed: Option<String>,
    /// Addresses that are not meant for detection, or were deleted.
    pub(super) unselected: usize,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "Event")]
    event: Body,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Attribute", default)]
    attributes: Vec<Attribute>,
    #[serde(rename = "Object", default)]
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "Attribute", default)]
    attributes: Vec<Attribute>,
    #[serde(default)]
    deleted: Value,
}

#[derive(Deserialize)]
struct Attribute {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    to_ids: Value,
    #[serde(default)]
    deleted: Value,
}

impl Event {
    /// Reads a file of an event; says why it is none.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let File { event } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut found = Self::default();
        for attribute in &event.attributes {
            found.take(attribute, false);
        }
        for object in &event.objects {
            let deleted = is_true(&object.deleted);
            object.attributes.iter().for_each(|attribute| found.take(attribute, deleted));
        }
        Ok(found)
    }

    fn take(&mut self, attribute: &Attribute, deleted: bool) {
        let with_port = match attribute.r#type.as_str() {
            "ip-src" | "ip-dst" => false,
            "ip-src|port" | "ip-dst|port" => true,
            _ => return,
        };
        if deleted || is_true(&attribute.deleted) || !is_true(&attribute.to_ids) {
            self.unselected += 1;
            return;
        }
        let text = attribute.value.as_str().unwrap_or_default();
        let address = if with_port { text.split('|').next().unwrap_or_default() } else { text };
        if let Some(network) = network(address) {
            self.networks.push(network);
        } else {
            self.malformed += 1;
            self.first_malformed.get_or_insert_with(|| text.chars().take(60).collect());
        }
    }
}

/// MISP writes truth as true, 1 or "1".
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_i64() == Some(1),
        Value::String(text) => text == "1" || text.eq_ignore_ascii_case("true"),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_for_detection_count() {
        let text = r#"{"Event": {"info": "x", "Attribute": [
            {"type": "ip-src", "value": "192.0.2.1", "to_ids": true},
            {"type": "ip-dst", "value": "192.0.2.0/28", "to_ids": "1", "deleted": false},
            {"type": "ip-dst|port", "value": "192.0.2.3|8080", "to_ids": 1},
            {"type": "ip-src|port", "value": "2001:db8::1|443", "to_ids": true},
            {"type": "ip-src", "value": "192.0.2.5", "to_ids": false},
            {"type": "ip-src", "value": "192.0.2.6"},
            {"type": "ip-src", "value": "192.0.2.7", "to_ids": true, "deleted": true},
            {"type": "ip-src", "value": "not an address", "to_ids": true},
            {"type": "ip-src", "value": 5, "to_ids": true},
            {"type": "domain|ip", "value": "bad.example|192.0.2.8", "to_ids": true},
            {"type": "sha256", "value": "00", "to_ids": true}],
          "Object": [
            {"name": "ip-port", "Attribute": [{"type": "ip-dst", "value": "192.0.2.9", "to_ids": true}]},
            {"name": "ip-port", "deleted": true, "Attribute": [{"type": "ip-dst", "value": "192.0.2.10", "to_ids": true}]},
            {"name": "file"}]}}"#;
        let event = Event::parse(text.as_bytes()).unwrap();
        let networks: Vec<_> = event.networks.iter().map(ToString::to_string).collect();
        assert_eq!(
            networks,
            ["192.0.2.1/32", "192.0.2.0/28", "192.0.2.3/32", "2001:db8::1/128", "192.0.2.9/32"]
        );
        assert_eq!((event.malformed, event.unselected), (2, 4));
        assert_eq!(event.first_malformed.as_deref(), Some("not an address"));
        assert_eq!(Event::parse(b"{\"Event\": {}}").unwrap(), Event::default());
        for text in ["", "[]", "{}", "<html>", r#"{"Event": 5}"#, r#"{"Event": {"Attribute": {}}}"#] {
            assert!(Event::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
