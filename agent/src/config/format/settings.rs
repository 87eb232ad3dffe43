use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const COLUMN_MAX: i16 = 1000;
const SKIP_MAX: usize = 10_000;
const POINTERS_MAX: usize = 64;
const POINTER_DEPTH_MAX: usize = 32;

/// What names the entries of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An address, a prefix, or the first address of a range.
    Address,
    /// The number of an autonomous system, which tables turn into prefixes.
    Asn,
    /// A country, likewise.
    Country,
}

/// Lines of columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// What stands between columns; nothing: `blank`, or `comma` in CSV.
    #[serde(alias = "delimiter", default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<Separator>,
    /// Where the address, prefix, or `address:port` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "column"))]
    pub address: Option<Column>,
    /// Where the number of an autonomous system is, instead of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "column"))]
    pub asn: Option<Column>,
    /// Where the country is, instead of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "column"))]
    pub country: Option<Column>,
    /// Where the last address of a range is, whose first is `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "column"))]
    pub end: Option<Column>,
    /// Where the score is: a number, whose fraction does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "column"))]
    pub score: Option<Column>,
    /// Where the category is, or several of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "column"))]
    pub category: Option<Column>,
    /// Which lines count; nothing: all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// Lines to pass over in front, comments not counted. A header row is found without.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(extend("x-type" = "number", "default" = 0, "minimum" = 0, "maximum" = 10_000))]
    pub skip: usize,
    /// Characters that begin a comment at the start of a line; nothing: `#` and `;`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "text"))]
    pub comment: Option<String>,
}

/// JSON objects or texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// Where the entries are in a document: RFC 6901 pointers, in which `*` stands for every element
    /// or key. What is found is a text, an array of texts, or an object with the keys below.
    #[serde(default, skip_serializing_if = "Words::is_empty")]
    #[schemars(extend("x-type" = "words"))]
    pub items: Words,
    /// The keys of an object that have the address, prefix, or `address:port`.
    #[serde(default, skip_serializing_if = "Words::is_empty")]
    #[schemars(extend("x-type" = "words"))]
    pub address: Words,
    /// The key that has the number of an autonomous system, instead of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "key"))]
    pub asn: Option<String>,
    /// The key that has the country, instead of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "key"))]
    pub country: Option<String>,
    /// The key that has the last address of a range, whose first is `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "key"))]
    pub end: Option<String>,
    /// The key that has the score: a number, whose fraction does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "key"))]
    pub score: Option<String>,
    /// The key that has the category, or an array of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-type" = "key"))]
    pub category: Option<String>,
    /// Which objects count; nothing: all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
}

/// Which lines or objects count: those that have one of these values there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Only {
    /// The column, or the key of a JSON object.
    #[serde(alias = "key")]
    #[schemars(extend("x-type" = "column"))]
    pub column: Column,
    /// Values of lines that count.
    #[schemars(extend("x-type" = "words"))]
    pub values: Words,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Column {
    /// Its number from 1, or from -1 for the last.
    Number(i16),
    /// Its name in the header row, which may be a comment.
    Name(String),
}

/// What stands between columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Separator {
    /// Any number of blanks and tabs.
    Blank,
    /// One tab.
    Tab,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `|`
    Pipe,
    /// Any number of blanks, tabs, commas, semicolons and pipes.
    Any,
}

/// One text, or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany")]
pub struct Words(pub Vec<String>);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Words {
    fn from(words: OneOrMany) -> Self {
        match words {
            OneOrMany::One(word) => Self(vec![word]),
            OneOrMany::Many(words) => Self(words),
        }
    }
}

impl From<&[&str]> for Words {
    fn from(words: &[&str]) -> Self {
        Self(words.iter().map(ToString::to_string).collect())
    }
}

impl Words {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if `text` is one of them, whatever the case of its letters.
    #[must_use]
    pub fn contain(&self, text: &[u8]) -> bool {
        self.0.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(text))
    }
}

impl Columns {
    /// Returns what names the entries, and where it is.
    #[must_use]
    pub fn subject(&self) -> Option<(Subject, &Column)> {
        let address = self.address.as_ref().map(|column| (Subject::Address, column));
        let asn = self.asn.as_ref().map(|column| (Subject::Asn, column));
        let country = self.country.as_ref().map(|column| (Subject::Country, column));
        address.or(asn).or(country)
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        one_subject([self.address.is_some(), self.asn.is_some(), self.country.is_some()], "the column")?;
        if self.end.is_some() && self.address.is_none() {
            return Err("end: is the end of a range of addresses; set address too".to_owned());
        }
        let columns = [
            ("address", self.address.as_ref()),
            ("asn", self.asn.as_ref()),
            ("country", self.country.as_ref()),
            ("end", self.end.as_ref()),
            ("score", self.score.as_ref()),
            ("category", self.category.as_ref()),
            ("only.column", self.only.as_ref().map(|only| &only.column)),
        ];
        for (name, column) in columns {
            column.map_or(Ok(()), |column| column.validate(name))?;
        }
        if self.skip > SKIP_MAX {
            return Err(format!("skip: {} is more than {SKIP_MAX}", self.skip));
        }
        if let Some(comment) = &self.comment
            && !comment.bytes().all(|byte| byte.is_ascii_punctuation())
        {
            return Err(format!("comment: `{comment}` is no punctuation; write characters like `#` or `#;`"));
        }
        self.only.as_ref().map_or(Ok(()), Only::validate)
    }
}

impl Column {
    fn validate(&self, field: &str) -> Result<(), String> {
        match self {
            Self::Number(0) => {
                Err(format!("{field}: is column 0; columns are numbered from 1, or from -1 for the last"))
            }
            Self::Number(number) if !(-COLUMN_MAX..=COLUMN_MAX).contains(number) => {
                Err(format!("{field}: column {number} is beyond {COLUMN_MAX}"))
            }
            Self::Name(name) if name.trim().is_empty() => {
                Err(format!("{field}: has no name; write that of the header row, or a number from 1"))
            }
            Self::Number(_) | Self::Name(_) => Ok(()),
        }
    }
}

impl Only {
    fn validate(&self) -> Result<(), String> {
        if self.values.is_empty() {
            return Err("only.values: is empty, so nothing would count; write values that do".to_owned());
        }
        Ok(())
    }
}

impl Json {
    /// Returns what names the entries, and under which key; nothing: entries are texts.
    #[must_use]
    pub fn subject(&self) -> Option<(Subject, &[String])> {
        let asn = self.asn.as_ref().map(|key| (Subject::Asn, std::slice::from_ref(key)));
        let country = self.country.as_ref().map(|key| (Subject::Country, std::slice::from_ref(key)));
        let address = (!self.address.is_empty()).then_some((Subject::Address, self.address.0.as_slice()));
        address.or(asn).or(country)
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        let subjects = [!self.address.is_empty(), self.asn.is_some(), self.country.is_some()];
        // Items that are texts need no key.
        if self.items.is_empty() || subjects.contains(&true) {
            one_subject(subjects, "the key")?;
        }
        if self.end.is_some() && self.address.is_empty() {
            return Err("end: is the end of a range of addresses; set address too".to_owned());
        }
        if self.items.0.len() > POINTERS_MAX {
            return Err(format!("items: {} pointers are more than {POINTERS_MAX}", self.items.0.len()));
        }
        for pointer in &self.items.0 {
            if !pointer.starts_with('/') {
                return Err(format!(
                    "items: `{pointer}` does not start with /; write a pointer like /prefixes/*"
                ));
            }
            if pointer.matches('/').count() > POINTER_DEPTH_MAX {
                return Err(format!("items: `{pointer}` has more than {POINTER_DEPTH_MAX} parts"));
            }
        }
        if let Some(only) = &self.only {
            if let Column::Number(number) = only.column {
                return Err(format!("only.key: `{number}` is a number; write the key of an object"));
            }
            only.validate()?;
        }
        Ok(())
    }
}

fn one_subject(subjects: [bool; 3], what: &str) -> Result<(), String> {
    match subjects.into_iter().filter(|there| *there).count() {
        1 => Ok(()),
        0 => Err(format!("has no address, asn or country; say {what} that has it")),
        _ => Err("has several of address, asn and country; keep one of them".to_owned()),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}
