use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    lines,
    sink::{self, Record, Sink},
};
use crate::config::{Column, Json, Subject};

/// Parses a JSON document, or several in a row: the files of a directory.
///
/// # Errors
/// Says where it is no JSON.
pub(super) fn document(json: &Json, text: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
    let pointers: Vec<Vec<String>> = json.items.0.iter().map(|pointer| parts(pointer)).collect();
    let pointers: Vec<&[String]> = pointers.iter().map(Vec::as_slice).collect();
    let mut walk = Walk { json, sink, number: 0 };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    loop {
        let step = Step { walk: &mut walk, pointers: &pointers };
        step.deserialize(&mut deserializer)
            .map_err(|error| format!("is no JSON that can be read: {error}"))?;
        if deserializer.end().is_ok() {
            return Ok(());
        }
    }
}

/// Parses JSON values, one a line. A line with `"type":"metadata"` declares how many there are.
pub(super) fn lines(json: &Json, text: &[u8], sink: &mut Sink<'_>) {
    let whole: &[&[String]] = &[&[]];
    for (line, number) in lines::lines(text) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let mut walk = Walk { json, sink, number };
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let read = Step { walk: &mut walk, pointers: whole }.deserialize(&mut deserializer);
        if read.and_then(|()| deserializer.end()).is_err() {
            sink.parsed.reject(number, line);
        }
        if sink.is_full() {
            break;
        }
    }
}

/// Returns the parts of a pointer (RFC 6901).
fn parts(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

struct Walk<'w, 's> {
    json: &'w Json,
    sink: &'w mut Sink<'s>,
    /// The line, or how many entries there were.
    number: usize,
}

/// A value, and what of the pointers is left there. An empty pointer says that it is an entry.
struct Step<'w, 'p, 'v, 's> {
    walk: &'p mut Walk<'w, 's>,
    pointers: &'v [&'v [String]],
}

impl Step<'_, '_, '_, '_> {
    fn is_entry(&self) -> bool {
        self.pointers.iter().any(|pointer| pointer.is_empty())
    }

    fn text(self, text: &[u8]) {
        if !self.is_entry() {
            return;
        }
        let subject = self.walk.json.subject().map_or(Subject::Address, |(subject, _)| subject);
        let picked = !self.walk.sink.is_picky();
        self.walk.take(&Record { subject, picked, ..Record::of(text) });
    }
}

/// Returns what is left of the pointers under this key.
fn below<'v>(pointers: &[&'v [String]], key: &str) -> Vec<&'v [String]> {
    let below = |pointer: &&[String]| pointer.first().is_some_and(|part| part == "*" || part == key);
    pointers.iter().copied().filter(below).filter_map(|pointer| pointer.get(1..)).collect()
}

impl<'de> DeserializeSeed<'de> for Step<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.is_entry() {
            return self.walk.object(map);
        }
        while let Some(Key(key)) = map.next_key()? {
            let pointers = below(self.pointers, &key);
            if pointers.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Step { walk: &mut *self.walk, pointers: &pointers })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let is_entry = self.is_entry();
        let every = below(self.pointers, "*");
        for index in 0usize.. {
            let numbered;
            let pointers = if is_entry {
                self.pointers
            } else if self.pointers.iter().all(|pointer| pointer.first().is_some_and(|part| part == "*")) {
                &every
            } else {
                numbered = below(self.pointers, &index.to_string());
                &numbered
            };
            if seq.next_element_seed(Step { walk: &mut *self.walk, pointers })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.text(text.as_bytes());
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.text(number.to_string().as_bytes());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.text(number.to_string().as_bytes());
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.text(number.to_string().as_bytes());
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.text(b"true or false");
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl Walk<'_, '_> {
    fn take(&mut self, record: &Record<'_>) {
        // In a document entries are counted instead of lines.
        if !self.json.items.0.is_empty() {
            self.number += 1;
        }
        if !self.sink.is_full() {
            self.sink.take(self.number, record, record.name);
        }
    }

    /// Reads an object that is an entry.
    fn object<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let json = self.json;
        let is = |wanted: Option<&String>, key: &str| wanted.is_some_and(|wanted| wanted == key);
        let (subject, keys) = json.subject().unwrap_or((Subject::Address, &[]));
        let mut found =
            Found { name: Field::Other, end: None, score: None, category: None, fits: json.only.is_none() };
        let (mut is_metadata, mut records) = (false, None);
        while let Some(Key(key)) = map.next_key()? {
            let key = key.as_ref();
            let only =
                json.only.as_ref().filter(|only| matches!(&only.column, Column::Name(name) if name == key));
            let is_name = keys.iter().any(|name| name == key) && matches!(found.name, Field::Other);
            let is_end = is(json.end.as_ref(), key);
            let is_score = is(json.score.as_ref(), key);
            let is_category = is(json.category.as_ref(), key) && self.sink.is_picky();
            let is_about = matches!(key, "type" | "records") && json.items.0.is_empty();
            if !(is_name || is_end || is_score || is_category || is_about || only.is_some()) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let field: Field<'de> = map.next_value()?;
            if let Some(only) = only {
                found.fits = field.texts().any(|text| only.values.contain(text.as_bytes()));
            }
            match key {
                "type" if is_about => is_metadata = field.texts().any(|text| text == "metadata"),
                "records" if is_about => records = field.texts().find_map(|text| text.parse().ok()),
                _ => {}
            }
            if is_score {
                found.score = field.texts().find_map(|text| sink::score(text.as_bytes()));
            }
            if is_category {
                found.category = Some(field.texts().any(|text| self.sink.picks(text.as_bytes())));
            }
            if is_end {
                found.end = field.texts().next().map(Cow::into_owned);
            }
            if is_name {
                found.name = field;
            }
        }
        if is_metadata && matches!(found.name, Field::Other) {
            self.sink.parsed.declared = records;
        } else {
            self.found(subject, &found);
        }
        Ok(())
    }

    fn found(&mut self, subject: Subject, found: &Found<'_>) {
        if !found.fits {
            self.sink.leave_out();
            return;
        }
        let picked = found.category.unwrap_or(!self.sink.is_picky());
        let end = found.end.as_ref().map(String::as_bytes);
        let mut any = false;
        for text in found.name.texts() {
            any = true;
            self.take(&Record { subject, name: text.as_bytes(), end, score: found.score, picked });
        }
        if !any {
            self.take(&Record { subject, ..Record::of(b"an object without address") });
        }
    }
}

/// What an object says.
struct Found<'a> {
    name: Field<'a>,
    end: Option<String>,
    score: Option<u32>,
    category: Option<bool>,
    fits: bool,
}

/// A key, which is not copied unless something in it is escaped.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value of an object.
enum Field<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Texts(Vec<Cow<'a, str>>),
    Other,
}

impl Field<'_> {
    fn texts(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let (one, many): (Option<Cow<'_, str>>, &[Cow<'_, str>]) = match self {
            Self::Text(text) => (Some(Cow::Borrowed(text)), &[]),
            Self::Number(number) => (Some(Cow::Owned(number.to_string())), &[]),
            Self::Texts(texts) => (None, texts),
            Self::Other => (None, &[]),
        };
        one.into_iter().chain(many.iter().map(|text| Cow::Borrowed(text.as_ref())))
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, or an array of texts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field<'de>, E> {
        Ok(Field::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(number.to_string())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(if value { "true" } else { "false" })))
    }

    fn visit_unit<E>(self) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field<'de>, A::Error> {
        let mut texts = Vec::new();
        while let Some(field) = seq.next_element::<Field<'de>>()? {
            match field {
                Field::Text(text) => texts.push(text),
                Field::Number(number) => texts.push(Cow::Owned(number.to_string())),
                Field::Texts(_) | Field::Other => {}
            }
        }
        Ok(Field::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}
