//! Settings: what the schema says of each, in the order of the examples.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// A line of the reference.
#[derive(Debug)]
pub(super) struct Setting {
    /// Like `feeds[].guards.shrink`.
    pub(super) path: String,
    /// What it is: a word of `TYPES`, or its values.
    pub(super) kind: String,
    /// Of a number.
    pub(super) unit: Option<String>,
    pub(super) what: String,
    pub(super) required: bool,
    pub(super) default: Option<Value>,
    pub(super) least: Option<Value>,
    pub(super) most: Option<Value>,
    /// It has settings below it, and no value of its own.
    pub(super) group: bool,
}

/// Returns all settings of a schema.
pub(super) fn settings(schema: &Value, examples: &str) -> Vec<Setting> {
    let mut walk = Walk { root: schema, order: order(examples), open: Vec::new(), found: Vec::new() };
    walk.properties("", &[schema]);
    walk.found
}

struct Walk<'s> {
    root: &'s Value,
    /// Paths as they follow one another in the examples.
    order: Vec<String>,
    /// Properties of the objects around: one within itself has no end.
    open: Vec<&'s Value>,
    found: Vec<Setting>,
}

impl<'s> Walk<'s> {
    /// Walks through what any of these objects has.
    fn properties(&mut self, at: &str, objects: &[&'s Value]) {
        let mut all = Vec::new();
        for object in objects {
            let required = object.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let properties = object.get("properties").and_then(Value::as_object).into_iter().flatten();
            let alone = objects.len() == 1;
            // Of several that there are one is chosen by its name, and what it is stands above that.
            let about = object.get("description").and_then(Value::as_str).filter(|_| !alone);
            all.extend(properties.map(|(name, schema)| {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                (path, name, schema, about, alone && required.iter().any(|it| it == name))
            }));
        }
        all.sort_by_key(|(path, ..)| self.order.iter().position(|known| known == path));
        self.open.extend(objects.iter().filter_map(|object| object.get("properties")));
        let mut shapes: Vec<(&Value, &str)> = Vec::new();
        for (path, name, schema, about, required) in all {
            let (inside, list) = self.inside(schema);
            let shape = inside.iter().find_map(|it| it.get("properties")).filter(|_| !list);
            let twin = shapes.iter().find(|(known, _)| Some(*known) == shape).map(|(_, name)| *name);
            self.setting(&path, schema, (about, twin), required);
            shapes.extend(shape.map(|shape| (shape, name.as_str())));
        }
        self.open.truncate(self.open.len() - objects.len());
    }

    /// `about` is what it is, if the schema of its value does not say so; `twin` a setting beside it that has
    /// the same settings below it.
    fn setting(
        &mut self,
        path: &str,
        schema: &'s Value,
        (about, twin): (Option<&str>, Option<&str>),
        required: bool,
    ) {
        let (inside, list) = self.inside(schema);
        let objects: Vec<&Value> =
            inside.iter().copied().filter(|it| it.get("properties").is_some()).collect();
        let group = !objects.is_empty() && objects.len() == inside.len();
        let again = objects.iter().any(|it| it.get("properties").is_some_and(|it| self.open.contains(&it)));
        let fact = |keys: &[&str]| keys.iter().find_map(|key| schema.get(key)).filter(|it| !it.is_null());
        let text = |key: &str| fact(&[key]).and_then(Value::as_str).map(|text| text.replace('\n', " "));
        let mut what = about.map(str::to_owned).or_else(|| text("description")).unwrap_or_default();
        match twin {
            _ if again => what.push_str(" The same settings again."),
            Some(twin) => what = format!("{what} The same settings as `{twin}`."),
            None => what.push_str(&values(&inside)),
        }
        let kind = text("x-type").unwrap_or_else(|| kind(&inside));
        let kind = match (group, objects.is_empty()) {
            (true, _) => "settings".to_owned(),
            (false, false) => format!("{kind} or settings"),
            (false, true) => kind,
        };
        self.found.push(Setting {
            path: path.to_owned(),
            kind: if list { format!("list of {kind}") } else { kind },
            unit: text("x-unit"),
            what,
            required,
            default: fact(&["default"]).filter(|_| !group).cloned(),
            least: fact(&["x-least", "minimum"]).cloned(),
            most: fact(&["x-most", "maximum"]).cloned(),
            group,
        });
        if !again && twin.is_none() {
            self.properties(&if list { format!("{path}[]") } else { path.to_owned() }, &objects);
        }
    }

    /// Returns what a value may be, besides nothing; of a list what its elements may be, and true.
    fn inside(&self, schema: &'s Value) -> (Vec<&'s Value>, bool) {
        let alternatives = self.alternatives(schema);
        // One or a list of the same is one.
        match alternatives.as_slice() {
            [list] if list.get("items").is_some() => {
                (list.get("items").map(|items| self.alternatives(items)).unwrap_or_default(), true)
            }
            _ => (alternatives, false),
        }
    }

    fn alternatives(&self, schema: &'s Value) -> Vec<&'s Value> {
        let name = schema.get("$ref").and_then(Value::as_str);
        let found = name.and_then(|name| self.root.pointer(name.trim_start_matches('#')));
        let schema = found.unwrap_or(schema);
        let several = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
        match several {
            Some(several) => several.iter().flat_map(|it| self.alternatives(it)).collect(),
            None if schema.get("type").is_some_and(|it| it == "null") => Vec::new(),
            None => vec![schema],
        }
    }
}

/// What is not told by `x-type`.
fn kind(alternatives: &[&Value]) -> String {
    let is = |schema: &Value, name: &str| match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|it| it == name),
        Some(one) => one == name,
        None => false,
    };
    let all = |name: &str| alternatives.iter().all(|schema| is(schema, name));
    if alternatives.iter().any(|it| it.get("const").is_some() || it.get("enum").is_some()) {
        "word".to_owned()
    } else if all("boolean") {
        "true or false".to_owned()
    } else if all("integer") || all("number") {
        "number".to_owned()
    } else {
        "text".to_owned()
    }
}

/// Returns the words that a value may be, with what each means.
fn values(alternatives: &[&Value]) -> String {
    let mut values = Vec::new();
    for schema in alternatives {
        // What several words have in common is said of the setting.
        let words = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        values.extend(words.filter_map(Value::as_str).map(|word| format!("`{word}`")));
        values.extend(schema.get("const").and_then(Value::as_str).map(|word| {
            let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            let about = about.replace('\n', " ");
            let about = about.trim_end_matches('.');
            if about.is_empty() { format!("`{word}`") } else { format!("`{word}`: {about}") }
        }));
    }
    if values.is_empty() { String::new() } else { format!(" Values: {}.", values.join("; ")) }
}

/// Returns the paths of a YAML text, each once.
pub(super) fn order(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let seed = Paths { at: String::new(), paths: &mut paths };
    serde_saphyr::with_deserializer_from_str(text, |deserializer| seed.deserialize(deserializer)).unwrap();
    paths
}

struct Paths<'p> {
    at: String,
    paths: &'p mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Paths<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Paths<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let path = if self.at.is_empty() { name } else { format!("{}.{name}", self.at) };
            if !self.paths.contains(&path) {
                self.paths.push(path.clone());
            }
            map.next_value_seed(Paths { at: path, paths: &mut *self.paths })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let at = format!("{}[]", self.at);
        while list.next_element_seed(Paths { at: at.clone(), paths: &mut *self.paths })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
