//! The fields of a YAML text, and where they stand: the reader of YAML tells where something is wrong, and
//! not of which field.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// A value, and where all below it stands.
enum Node {
    Scalar(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// What stands at a place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The path of the field, like `limits[0].per`.
    pub(super) field: String,
    /// The path of the settings around it, where the place is that of a key.
    pub(super) around: Option<String>,
    /// What it says, where it is a value on a line.
    pub(super) value: Option<String>,
}

/// Returns what stands at a place. Nothing where nothing begins there, or the text is no YAML.
pub(super) fn find(text: &str, at: Location) -> Option<Place> {
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, options).ok()?;
    within(&root.value, "", (at.line(), at.column()))
}

fn within(node: &Node, path: &str, at: (u64, u64)) -> Option<Place> {
    let is_at = |place: Location| (place.line(), place.column()) == at;
    let value = |node: &Spanned<Node>, field: String| {
        // A key comes first, and begins where the settings do that it is one of.
        within(&node.value, &field, at).or_else(|| {
            let value = match &node.value {
                Node::Scalar(text) => Some(text.clone()),
                Node::List(_) | Node::Map(_) => None,
            };
            is_at(node.referenced).then_some(Place { field, around: None, value })
        })
    };
    match node {
        Node::Scalar(_) => None,
        Node::List(items) => {
            items.iter().enumerate().find_map(|(i, item)| value(item, format!("{path}[{i}]")))
        }
        Node::Map(pairs) => pairs.iter().find_map(|(key, item)| {
            let field = join(path, &key.value);
            if is_at(key.referenced) {
                return Some(Place { field, around: Some(path.to_owned()), value: None });
            }
            value(item, field)
        }),
    }
}

/// Returns the path of a field of settings.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

/// Takes whatever comes.
struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = access.next_entry()? {
            pairs.push(pair);
        }
        Ok(Node::Map(pairs))
    }
}
